#include "sim/report/queue_trend.h"

#include <cmath>
#include <span>
#include <utility>
#include <vector>

namespace alchemist {
namespace {

struct Point {
  double time, wait;  // means of an interval, seconds
};

// Variance per second of a random walk with this drift that goes through the points.
double variance_of_walk(std::span<const Point> points, double drift) {
  double sum = 0;
  for (std::size_t i = 1; i < points.size(); ++i) {
    const double time = points[i].time - points[i - 1].time;
    const double deviation = points[i].wait - points[i - 1].wait - drift * time;
    sum += deviation * deviation / time;
  }
  return sum / static_cast<double>(points.size() - 2);
}

// The wait halfway, between the two points around it.
double wait_halfway(std::span<const Point> points) {
  const double half = (points.front().time + points.back().time) / 2;
  std::size_t after = 1;
  while (points[after].time < half) ++after;
  const Point &a = points[after - 1], &b = points[after];
  return a.wait + (b.wait - a.wait) * (half - a.time) / (b.time - a.time);
}

}  // namespace

void QueueTrend::add(const RequestOutcome& outcome) {
  if (count_++ == 0) reference_ = outcome.arrived;
  mean_service_ += ((outcome.finished - outcome.scheduled).in_seconds() - mean_service_) / static_cast<double>(count_);
  Interval& interval = intervals_[outcome.arrived.count_ns() >> shift_];
  ++interval.count;
  interval.arrival += (outcome.arrived - reference_).in_seconds();
  interval.wait += (outcome.scheduled - outcome.arrived).in_seconds();
  while (intervals_.size() > kIntervals) {
    ++shift_;
    for (const auto& [index, part] : std::exchange(intervals_, {})) {
      Interval& whole = intervals_[index >> 1];
      whole.count += part.count;
      whole.arrival += part.arrival;
      whole.wait += part.wait;
    }
  }
}

bool QueueTrend::saturated() const {
  if (count_ < kMinRequests || intervals_.size() < 3) return false;
  std::vector<Point> points;
  for (const auto& [index, interval] : intervals_) {
    points.push_back({interval.arrival / interval.count, interval.wait / interval.count});
  }
  const double time = points.back().time - points.front().time;
  const double growth = points.back().wait - points.front().wait;
  const double noise = std::sqrt(variance_of_walk(points, growth / time) * time);
  return growth > kNoise * noise && points.back().wait - wait_halfway(points) >= kLaterShare * growth &&
         growth > kService * mean_service_;
}

}  // namespace alchemist

// Times of cases on a machine that does other things too: the cases take turns, round after round, so that a
// disturbance hits all of them alike, and the median of the rounds counts. Work of many operations takes the sum of
// what they take, though, disturbances included, and a sum goes by the mean. The mean of a case's few rounds is at the
// mercy of each disturbance; so a case has its median, and all of them together say how far means are from medians.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "validate/machine_speed.h"

namespace alchemist {

// Microseconds.
struct Timing {
  double p10 = 0;
  double median = 0;
  double p90 = 0;
};

inline Timing timing_of(std::vector<double> us) {
  std::sort(us.begin(), us.end());
  const auto at = [&](double share) {
    return us[static_cast<std::size_t>(std::llround(share * static_cast<double>(us.size() - 1)))];
  };
  return {at(0.1), at(0.5), at(0.9)};
}

inline double microseconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

// Sums samples and medians of many cases.
class Disturbance {
 public:
  void add(const std::vector<double>& us, const Timing& timing) {
    for (const double sample : us) total_ += sample;
    medians_ += timing.median * static_cast<double>(us.size());
  }
  // Time taken / what it had been, had every sample been its case's median.
  double factor() const { return medians_ > 0 ? total_ / medians_ : 1; }

 private:
  double total_ = 0;
  double medians_ = 0;
};

struct TimedCase {
  std::function<void()> work;
  bool follows_itself = false;  // it is run twice in a row, and the second time is measured
};

// What a measurement tells beside the times of its cases; each may be null.
struct Conditions {
  Disturbance* disturbance = nullptr;
  SpeedFit* speed = nullptr;
};

// One round more is run first and not counted. It tells how long the cases take, and they run in this order, up and
// down by turns: so each follows one much like it, as steps do, and a short one does not pay for the caches that a long
// one has emptied. `after_round` is called behind each of them, the first included.
inline std::vector<Timing> measure_in_turns(
    const std::vector<TimedCase>& cases, int rounds, const std::function<void()>& after_round = [] {},
    Conditions conditions = {}) {
  std::vector<std::pair<double, std::size_t>> order;
  for (std::size_t i = 0; i < cases.size(); ++i) order.emplace_back(microseconds_of(cases[i].work), i);
  after_round();
  std::sort(order.begin(), order.end());
  std::vector<std::vector<double>> us(cases.size());
  for (int round = 0; round < rounds; ++round) {
    for (const auto& [first_time, i] : order) {
      if (cases[i].follows_itself) cases[i].work();
      const double probe_us = conditions.speed ? speed_probe_us() : 0;
      us[i].push_back(microseconds_of(cases[i].work));
      if (conditions.speed) conditions.speed->add(i, us[i].back(), probe_us);
    }
    std::reverse(order.begin(), order.end());
    after_round();
  }
  std::vector<Timing> timings;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    timings.push_back(timing_of(us[i]));
    if (conditions.disturbance) conditions.disturbance->add(us[i], timings.back());
  }
  return timings;
}

}  // namespace alchemist

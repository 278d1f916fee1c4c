// Whether the service falls behind what arrives.
//
// When work arrives faster than it is served, the wait before a request is first scheduled grows with the time of its
// arrival, by (load - 1) for each second, under the noise of arrivals and sizes: a random walk with a drift. In a
// queue that is stable it comes back to zero again and again; the growth from its first to its last requests is then
// what such a walk does without a drift. So the rule: with requests grouped by arrival into at most kIntervals
// intervals of time, the run is saturated if the mean wait has grown from the first interval to the last
//   - by more than kNoise standard errors, as the changes from interval to interval tell them,
//   - in the latter half of the time by at least kLaterShare of it (what fills up and then stays is no overload),
//   - and by more than kService times the mean time in service, below which any queue may grow.
// Overload shows once it is strong or long enough to stand out of the noise: 5 % after some 10,000 Poisson arrivals of
// equal requests, 30 % after 1,000, more of either where arrivals come in bursts.
#pragma once

#include <cstdint>
#include <map>

#include "sim/base/observer.h"

namespace alchemist {

class QueueTrend {
 public:
  static constexpr std::int64_t kMinRequests = 10;
  static constexpr std::size_t kIntervals = 64;
  static constexpr double kNoise = 3.5, kLaterShare = 0.25, kService = 0.25;

  // In any order, in constant memory.
  void add(const RequestOutcome& outcome);
  bool saturated() const;

 private:
  struct Interval {
    double count = 0, arrival = 0, wait = 0;  // sums, seconds; arrivals since reference_
  };

  std::int64_t count_ = 0;
  double mean_service_ = 0;                     // seconds
  Time reference_;                              // an arrival
  int shift_ = 0;                               // an interval is 2^shift_ nanoseconds
  std::map<std::int64_t, Interval> intervals_;  // those in which requests arrived
};

}  // namespace alchemist

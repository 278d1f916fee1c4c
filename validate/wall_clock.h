// The real world's clock, counted from the start of the run as simulated time is.
#pragma once

#include <chrono>

#include "sim/base/time.h"

namespace alchemist {

class WallClock {
 public:
  using Source = std::chrono::steady_clock;

  Time now() const { return of(Source::now()); }
  Time of(Source::time_point point) const {
    return Time::from_ns(std::chrono::duration_cast<std::chrono::nanoseconds>(point - start_).count());
  }
  Source::time_point point_of(Time time) const { return start_ + std::chrono::nanoseconds(time.count_ns()); }

 private:
  Source::time_point start_ = Source::now();
};

}  // namespace alchemist

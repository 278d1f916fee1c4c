// Tokens a second of late: a sum that fades with a time constant of two minutes.
#pragma once

#include <cmath>
#include <cstdint>

#include "sim/base/time.h"

namespace alchemist {

class TokenRate {
 public:
  void add(Time now, std::int64_t tokens) {
    sum_ = sum_ * std::exp(-(now - at_).in_seconds() / kMemory_s) + static_cast<double>(tokens);
    at_ = now;
  }
  // Zero at the start of the run.
  double per_second(Time now) const {
    const double seen = kMemory_s * (1 - std::exp(-now.in_seconds() / kMemory_s));  // weight of the time so far
    if (seen <= 0) return 0;
    return sum_ * std::exp(-(now - at_).in_seconds() / kMemory_s) / seen;
  }

 private:
  static constexpr double kMemory_s = 120;
  double sum_ = 0;
  Time at_;
};

}  // namespace alchemist

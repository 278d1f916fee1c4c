// What work took.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <vector>

namespace alchemist {

// Microseconds.
struct Timing {
  double p10 = 0;
  double median = 0;
  double p90 = 0;
};

// The samples nearest to 10 and 90 %. The median of an even number is the mean of the middle two: of two samples, as
// few rounds leave, the larger would say that everything is slow.
inline Timing timing_of(std::vector<double> us) {
  std::sort(us.begin(), us.end());
  const auto at = [&](double share) {
    return us[static_cast<std::size_t>(std::llround(share * static_cast<double>(us.size() - 1)))];
  };
  return {at(0.1), (us[(us.size() - 1) / 2] + us[us.size() / 2]) / 2, at(0.9)};
}

inline double microseconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace alchemist

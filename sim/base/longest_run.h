// The end of simulated time. Far from the 292 years that 64 bits of nanoseconds hold, so that sums of a time within the
// run and a length that a configuration may name do not overflow.
#pragma once

#include "sim/base/time.h"

namespace alchemist {

inline constexpr Duration kLongestRun = Duration::milliseconds(100LL * 365 * 86'400 * 1'000);  // 100 years
inline constexpr Duration kLongestSetting = Duration::milliseconds(365LL * 86'400 * 1'000);    // a year

}  // namespace alchemist

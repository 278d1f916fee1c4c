// Points in time as numbers.
#pragma once

#include <cstdint>

#include "sim/base/time.h"

namespace alchemist {

inline Time at_ns(std::int64_t ns) { return Time::from_ns(ns); }
inline Time at_ms(std::int64_t ms) { return Time::from_ns(ms * 1'000'000); }

}  // namespace alchemist

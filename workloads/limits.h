// Bounds of what a workload may hold.
#pragma once

#include <cstdint>

namespace alchemist {

// Of one prompt or answer: far beyond any context, and sums stay within 32 bits.
inline constexpr std::int64_t kMaxTokens = 10'000'000;

}  // namespace alchemist

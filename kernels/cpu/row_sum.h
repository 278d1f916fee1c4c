// Sums over a row in eight interleaved partial sums: an order that is stated, so that the compiler may keep to it with
// vector instructions, and that is more accurate than one running sum.
#pragma once

#include <cstdint>

namespace alchemist::cpu {

// sum_j term(j) for j < count.
template <class T, class Term>
T row_sum(std::int64_t count, const Term& term) {
  constexpr int kLanes = 8;
  T lanes[kLanes] = {};
  std::int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += term(j + lane);
  }
  for (; j < count; ++j) lanes[j % kLanes] += term(j);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

}  // namespace alchemist::cpu

// Sums and maxima over a row in eight interleaved parts: an order that is stated, so that the compiler may keep to it
// with vector instructions, and in which a sum is more accurate than a running one.
#pragma once

#include <algorithm>
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

// max_j row[j] for j < count, count >= 1.
template <class T>
T row_max(std::int64_t count, const T* row) {
  constexpr int kLanes = 8;
  T lanes[kLanes];
  std::fill(lanes, lanes + kLanes, row[0]);
  std::int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = lanes[lane] < row[j + lane] ? row[j + lane] : lanes[lane];
  }
  for (; j < count; ++j) lanes[0] = std::max(lanes[0], row[j]);
  return *std::max_element(lanes, lanes + kLanes);
}

}  // namespace alchemist::cpu

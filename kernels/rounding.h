// Conversions between numbers of the host and stored elements.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/element.h"

namespace alchemist {

// To nearest, ties to even; not-a-number stays one.
inline BFloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
inline float to_float(BFloat16 value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16); }

template <class T>
T to_element(double value) {
  return static_cast<T>(value);
}
template <>
inline BFloat16 to_element(double value) {
  return to_bfloat16(static_cast<float>(value));
}

inline double from_element(float value) { return value; }
inline double from_element(double value) { return value; }
inline double from_element(BFloat16 value) { return to_float(value); }

}  // namespace alchemist

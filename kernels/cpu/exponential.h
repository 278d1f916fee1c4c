// exp() in the form that a compiler turns into vector instructions.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace alchemist::cpu {

inline double exponential(double x) { return std::exp(x); }

// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2, with exp(r) by its Taylor series to the sixth power: the
// first term left out is below 1.2e-7 of the result. Below -87.3, where the result would be no normal number, it is 0;
// above 88.7 it is infinite.
inline float exponential(float x) {
  constexpr float kLowest = -87.33654f, kHighest = 88.72283f;
  const float clamped = x > kLowest ? (x < kHighest ? x : kHighest) : kLowest;  // NaN, too, of which there is no int
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to an integer
  const float n = (clamped * 1.44269504f + kShift) - kShift;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts, the first of them exact
  float p = 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // In two factors, because 2^128 alone is no float.
  const std::int32_t whole = static_cast<std::int32_t>(n);
  const std::int32_t half = whole >> 1;
  const float scale1 = std::bit_cast<float>((half + 127) << 23);
  const float scale2 = std::bit_cast<float>((whole - half + 127) << 23);
  const float value = p * scale1 * scale2;
  if (x != x) return x;
  return x < kLowest ? 0.0f : (x > kHighest ? HUGE_VALF : value);
}

}  // namespace alchemist::cpu

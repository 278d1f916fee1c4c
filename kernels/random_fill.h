// Random numbers, drawn where they are needed: each depends on its stream and its place alone, so that every device
// draws the same ones, in whatever order.
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"
#include "sim/base/hash.h"

namespace alchemist {

enum class RandomKind : std::uint8_t {
  kConstant,    // 1
  kUniform,     // in [-1, 1)
  kNearNormal,  // mean 0, deviation 1: the sum of four uniform numbers, one hash for all of them
};

// values[i] = scale * random_value(kind, mix64(stream + i)), rounded.
template <class T>
struct RandomFill {
  T* values;  // [count]
  std::int64_t count;
  std::uint64_t stream;
  RandomKind kind;
  double scale;
};

constexpr double random_value(RandomKind kind, std::uint64_t bits) {
  if (kind == RandomKind::kConstant) return 1;
  if (kind == RandomKind::kUniform) return static_cast<double>(bits >> 11) / 9007199254740992.0 * 2 - 1;
  constexpr double kRootOf3 = 1.7320508075688772;  // four uniform numbers in [0, 1] have a variance of 1/3
  double sum = 0;
  for (int part = 0; part < 4; ++part) sum += static_cast<double>((bits >> (16 * part)) & 0xffff);
  return (sum / 65535.0 - 2) * kRootOf3;
}

namespace cpu {
template <class T>
void random_fill(const RandomFill<T>& call);
}

namespace cuda {
void random_fill(const RandomFill<BFloat16>& call, Stream stream);
}

}  // namespace alchemist

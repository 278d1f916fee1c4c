// Element types of kernels: activations and weights are stored as T (float or double on the CPU, BFloat16 on a GPU);
// sums over rows, statistics and gradients of weights are kept as Accumulator<T>.
#pragma once

#include <cstdint>

namespace alchemist {

// The upper half of a float, as GPUs store it (__nv_bfloat16 has the same layout). Storage alone: arithmetic is done in
// float.
struct BFloat16 {
  std::uint16_t bits = 0;
  bool operator==(const BFloat16&) const = default;
};

namespace internal {
template <class T>
struct AccumulatorOf {
  using type = T;
};
template <>
struct AccumulatorOf<BFloat16> {
  using type = float;
};
}  // namespace internal

template <class T>
using Accumulator = typename internal::AccumulatorOf<T>::type;

// What one call asks of the machine, for benchmarks: each operand is read and written once.
struct CallCost {
  double flops = 0;
  double bytes = 0;
};

}  // namespace alchemist

// Rotary position embedding (Su et al. 2021) in the half-split order of Llama's published weights: element j of a head
// is paired with element j + head_dim / 2.
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"
#include "sim/base/operator_work.h"

namespace alchemist {

// In place, for j < head_dim / 2, c = cosine[positions[i], j], s = +-sine[positions[i], j]:
//   x[i, h, j]                 <- x[i, h, j] * c - x[i, h, j + head_dim / 2] * s
//   x[i, h, j + head_dim / 2]  <- x[i, h, j + head_dim / 2] * c + x[i, h, j] * s
// Backward is the opposite rotation of the gradient.
template <class T>
struct Rotary {
  T* x;                           // [tokens, heads, head_dim], rows `row_stride` elements apart
  const std::int32_t* positions;  // [tokens], each in [0, rows of the tables)
  const Accumulator<T>* cosine;   // [positions, head_dim / 2]
  const Accumulator<T>* sine;     // [positions, head_dim / 2]
  std::int64_t tokens;
  std::int64_t heads;
  std::int64_t head_dim;  // even
  std::int64_t row_stride;
  bool inverse;  // rotates back: the gradient
};

template <class T>
CallCost cost(const Rotary<T>& call) {
  const double elements = static_cast<double>(call.tokens * call.heads * call.head_dim);
  const double table = static_cast<double>(call.tokens * call.head_dim) * sizeof(Accumulator<T>);
  return {static_cast<double>(call.tokens) * rotary_work(call.heads * call.head_dim).vector_flops_per_token,
          2 * elements * sizeof(T) + table};
}

namespace cpu {
template <class T>
void rotary(const Rotary<T>& call);
}

namespace cuda {
void rotary(const Rotary<BFloat16>& call, Stream stream);
}

}  // namespace alchemist

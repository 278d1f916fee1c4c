// Embedding: row `token` of a table for each token, and the sum of the gradients of each row.
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"

namespace alchemist {

// out[i, :] = table[tokens[i], :].
template <class T>
struct EmbeddingForward {
  const std::int32_t* tokens;  // [count], each in [0, rows of the table)
  const T* table;              // [vocabulary, hidden]
  T* out;                      // [count, hidden]
  std::int64_t count;
  std::int64_t hidden;
};

// d_table[tokens[i], :] += d_out[i, :], in ascending order of i for each row, so that the sum is the same every time.
template <class T>
struct EmbeddingBackward {
  const std::int32_t* tokens;  // [count]
  const T* d_out;              // [count, hidden]
  Accumulator<T>* d_table;     // [vocabulary, hidden]
  std::int64_t count;
  std::int64_t hidden;
  std::int64_t vocabulary;
};

template <class T>
CallCost cost(const EmbeddingForward<T>& call) {
  return {0, static_cast<double>(call.count) * (2.0 * static_cast<double>(call.hidden) * sizeof(T) + 4)};
}
template <class T>
CallCost cost(const EmbeddingBackward<T>& call) {
  const double elements = static_cast<double>(call.count * call.hidden);
  return {elements, elements * (sizeof(T) + 2 * sizeof(Accumulator<T>))};
}

namespace cpu {
template <class T>
void embedding_forward(const EmbeddingForward<T>& call);
template <class T>
void embedding_backward(const EmbeddingBackward<T>& call);
}  // namespace cpu

namespace cuda {
void embedding_forward(const EmbeddingForward<BFloat16>& call, Stream stream);
void embedding_backward(const EmbeddingBackward<BFloat16>& call, Stream stream);
}  // namespace cuda

}  // namespace alchemist

// What cuDNN wants to know of packed sequences, and what it leaves to do: it takes lengths and offsets as arrays, and
// writes the gradients of keys and values in bf16 where ours are sums in f32.
#pragma once

#include <cstdint>

#include "kernels/attention.h"

namespace alchemist::cuda {

// In elements, of the rows of one tensor.
struct RowStrides {
  std::int64_t q = 0;
  std::int64_t kv = 0;
  std::int64_t d_q = 0;
};

// Arrays in device memory, parts of one piece of it. Offsets are where each sequence's rows begin, in elements of the
// tensor, and where the last one's end.
struct CudnnLayout {
  CudnnLayout(void* memory, std::int32_t sequences);
  static std::int64_t bytes(std::int32_t sequences);

  std::int64_t* q;        // [sequences + 1]
  std::int64_t* kv;       // of keys and values
  std::int64_t* out;      // and its gradient
  std::int64_t* lse;      // log-sum-exp
  std::int64_t* d_q;      // gradient of q
  std::int64_t* d_kv;     // gradients of keys and values in compact rows: sequence i from row i * max_keys on
  std::int32_t* queries;  // [sequences]: lengths
  std::int32_t* keys;
};
void lay_out(const AttentionShape& shape, const RowStrides& strides, const CudnnLayout& layout, Stream stream);

// d [rows, kv_heads, head_dim] += the compact gradient, for the rows of keys.
void add_compact(const AttentionShape& shape, const BFloat16* compact, float* d, Stream stream);

}  // namespace alchemist::cuda

// What an operator, a kernel or a whole phase of a layer asks of the machine, as a function of the tokens it computes.
#pragma once

#include <cstdint>

#include "sim/base/batch.h"

namespace alchemist {

// Keys that the tokens of a chunk attend to under a causal mask, in sum: token i of the chunk (from 0) sees the
// `context` tokens before the chunk, i tokens of the chunk, and itself.
inline double attended_keys(PrefillChunk chunk) {
  const double tokens = chunk.tokens;
  return tokens * chunk.context + tokens * (tokens + 1) / 2;
}

// Linear in three numbers: tokens computed, keys attended (attended_keys), and context tokens read. A multiply-add is
// two FLOPs, an exponential or a division one.
struct Work {
  double matrix_flops_per_token = 0;   // matrix units: products with weights
  double matrix_flops_per_key = 0;     // matrix units: attention, for each (token, attended key)
  double vector_flops_per_token = 0;   // element-wise arithmetic and row sums
  double vector_flops_per_key = 0;     // softmax, for each (token, attended key)
  double weight_bytes = 0;             // weights read, and weight gradients written, once whatever the tokens
  double bytes_per_token = 0;          // activations and gradients read and written in device memory
  double bytes_per_context_token = 0;  // keys and values of earlier tokens, read once a chunk
  double reduced_bytes_per_token = 0;  // that an all-reduce adds up over the GPUs that a layer is split over

  Work& operator+=(const Work& other) {
    matrix_flops_per_token += other.matrix_flops_per_token;
    matrix_flops_per_key += other.matrix_flops_per_key;
    vector_flops_per_token += other.vector_flops_per_token;
    vector_flops_per_key += other.vector_flops_per_key;
    weight_bytes += other.weight_bytes;
    bytes_per_token += other.bytes_per_token;
    bytes_per_context_token += other.bytes_per_context_token;
    reduced_bytes_per_token += other.reduced_bytes_per_token;
    return *this;
  }

  double matrix_flops(PrefillChunk chunk) const {
    return matrix_flops_per_token * chunk.tokens + matrix_flops_per_key * attended_keys(chunk);
  }
  double flops(PrefillChunk chunk) const {
    return matrix_flops(chunk) + vector_flops_per_token * chunk.tokens + vector_flops_per_key * attended_keys(chunk);
  }
  double bytes(PrefillChunk chunk) const {
    return weight_bytes + bytes_per_token * chunk.tokens + bytes_per_context_token * chunk.context;
  }
  // FLOPs of one token that attends to `keys` keys (a mean over a batch may be fractional).
  double flops_per_token(double keys) const {
    return matrix_flops_per_token + vector_flops_per_token + (matrix_flops_per_key + vector_flops_per_key) * keys;
  }
};

}  // namespace alchemist

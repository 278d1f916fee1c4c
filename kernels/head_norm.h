// Root-mean-square norm of each head of queries and keys, with weights that all heads of a kind share, and the rotation
// of kernels/rotary.h behind it: what Qwen3 (Yang et al. 2025) has in the place of the rotation alone.
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"
#include "sim/base/operator_work.h"

namespace alchemist {

// Heads side by side in rows of [tokens, q_heads + k_heads, head_dim], queries first; either kind may have none.
template <class T>
struct NormedHeads {
  const T* x;  // before the norm, rows `x_stride` elements apart
  std::int64_t x_stride;
  Accumulator<T>* rstd;  // [tokens, q_heads + k_heads], rows `rstd_stride` apart; null: forward keeps none
  std::int64_t rstd_stride;
  const T* q_weight;              // [head_dim]
  const T* k_weight;              // [head_dim]
  const std::int32_t* positions;  // [tokens], each in [0, rows of the tables)
  const Accumulator<T>* cosine;   // [positions, head_dim / 2]
  const Accumulator<T>* sine;     // [positions, head_dim / 2]
  std::int64_t tokens;
  std::int64_t q_heads;
  std::int64_t k_heads;
  std::int64_t head_dim;  // even

  std::int64_t count() const { return q_heads + k_heads; }
};

//   rstd[i, h] = 1 / sqrt(mean_j(x[i, h, j]^2) + epsilon), or as it is if it is known
//   n[i, h, j] = x[i, h, j] * rstd[i, h] * weight[j]         not rounded
//   y[i, h, :] = n[i, h, :] rotated by positions[i]
// `y` may be `x`. With rstd from an earlier call, y is the same to the bit.
template <class T>
struct HeadNormForward {
  NormedHeads<T> heads;
  T* y;
  std::int64_t y_stride;
  Accumulator<T> epsilon;
  bool rstd_is_known = false;
};

// With g[i, h, :] = d[i, h, :] rotated back:
//   d[i, h, j]  <- rstd * (weight[j] * g[j] - x[j] * rstd^2 / head_dim * sum_k(weight[k] * g[k] * x[k]))
//   d_weight[j] += sum_{i, h}(g[i, h, j] * x[i, h, j] * rstd[i, h])
template <class T>
struct HeadNormBackward {
  NormedHeads<T> heads;
  T* d;  // of y, and then of x: rows `d_stride` apart
  std::int64_t d_stride;
  Accumulator<T>* d_q_weight;  // [head_dim], added to; both null for frozen weights
  Accumulator<T>* d_k_weight;
};

namespace head_norm {
template <class T>
CallCost cost(const NormedHeads<T>& heads, Work per_token, double passes) {
  const double tokens = static_cast<double>(heads.tokens), width = static_cast<double>(heads.count() * heads.head_dim);
  per_token += rotary_work(heads.count() * heads.head_dim);
  return {tokens * per_token.vector_flops_per_token,
          tokens * (passes * width * sizeof(T) +
                    static_cast<double>(heads.count() + heads.head_dim) * sizeof(Accumulator<T>)) +
              2 * static_cast<double>(heads.head_dim) * sizeof(T)};
}
}  // namespace head_norm

template <class T>
CallCost cost(const HeadNormForward<T>& call) {
  const std::int64_t width = call.heads.count() * call.heads.head_dim;
  Work work = norm_scale_work(width);
  if (!call.rstd_is_known) work += norm_statistics_work(width);
  return head_norm::cost(call.heads, work, 2);
}
template <class T>
CallCost cost(const HeadNormBackward<T>& call) {
  const std::int64_t width = call.heads.count() * call.heads.head_dim;
  Work work = norm_statistics_gradient_work(width);
  work += norm_scale_gradient_work(width);
  if (call.d_q_weight) work += norm_weight_gradient_work(width);
  return head_norm::cost(call.heads, work, 3);
}

namespace cpu {
template <class T>
void head_norm_forward(const HeadNormForward<T>& call);
template <class T>
void head_norm_backward(const HeadNormBackward<T>& call);
}  // namespace cpu

namespace cuda {
void head_norm_forward(const HeadNormForward<BFloat16>& call, Stream stream);
// `workspace`: head_norm_backward_workspace() bytes of device memory for partial sums; null with frozen weights.
void head_norm_backward(const HeadNormBackward<BFloat16>& call, void* workspace, Stream stream);
std::int64_t head_norm_backward_workspace(const HeadNormBackward<BFloat16>& call);
}  // namespace cuda

}  // namespace alchemist

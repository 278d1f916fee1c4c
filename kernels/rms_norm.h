// Root-mean-square norm (Zhang and Sennrich 2019), with the residual addition in front of it where there is one.
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"
#include "kernels/record_copy.h"
#include "sim/base/operator_work.h"

namespace alchemist {

//   sum[i, :] = x[i, :] + branch[i, :]      rounded to T; only with a branch, otherwise sum stands for x below
//   rstd[i]   = 1 / sqrt(mean_j(sum[i, j]^2) + epsilon)
//   y[i, j]   = sum[i, j] * rstd[i] * weight[j]
// `sum` may be `x` or `branch`. What is normed (sum, or x without a branch) is kept in `record` as well, row behind
// row, so that it need not be read once more; no base: nowhere. So is rstd in `rstd_record`, but only beside `record`.
// Pages and alignment as in RecordCopy.
template <class T>
struct RmsNormForward {
  const T* x;            // [tokens, width]
  const T* branch;       // [tokens, width], or null
  T* sum;                // [tokens, width], or null if there is no branch
  const T* weight;       // [width]
  T* y;                  // [tokens, width]
  Accumulator<T>* rstd;  // [tokens]
  std::int64_t tokens;
  std::int64_t width;
  Accumulator<T> epsilon;
  PagedBytes record = {};
  PagedBytes rstd_record = {};
};

// y[i, j] = x[i, j] * rstd[i] * weight[j] once more, to the bit as the forward gave it.
template <class T>
struct RmsNormRebuild {
  const T* x;                  // [tokens, width]
  const Accumulator<T>* rstd;  // [tokens]
  const T* weight;             // [width]
  T* y;                        // [tokens, width]
  std::int64_t tokens;
  std::int64_t width;
};

//   d_x[i, j] += rstd[i] * (weight[j] * d_y[i, j] - x[i, j] * rstd[i]^2 / width * sum_k(weight[k] * d_y[i, k] * x[i,
//   k])) d_weight[j] += sum_i(d_y[i, j] * x[i, j] * rstd[i])
// d_x holds the gradient that goes past the norm on the residual stream when the call begins.
template <class T>
struct RmsNormBackward {
  const T* x;                  // [tokens, width]
  const Accumulator<T>* rstd;  // [tokens]
  const T* weight;             // [width]
  const T* d_y;                // [tokens, width]
  T* d_x;                      // [tokens, width], added to
  Accumulator<T>* d_weight;    // [width], added to; null for a frozen weight
  std::int64_t tokens;
  std::int64_t width;
};

template <class T>
CallCost cost(const RmsNormForward<T>& call) {
  const double tokens = static_cast<double>(call.tokens), width = static_cast<double>(call.width);
  Work work = norm_statistics_work(call.width);
  work += norm_scale_work(call.width);
  if (call.branch) work += residual_work(call.width);
  return {tokens * work.vector_flops_per_token,
          (tokens * ((call.branch ? 4 : 2) + (call.record.base ? 1 : 0)) + 1) * width * sizeof(T) +
              tokens * sizeof(Accumulator<T>)};
}
template <class T>
CallCost cost(const RmsNormRebuild<T>& call) {
  const double tokens = static_cast<double>(call.tokens), width = static_cast<double>(call.width);
  return {tokens * norm_scale_work(call.width).vector_flops_per_token,
          (tokens * 2 + 1) * width * sizeof(T) + tokens * sizeof(Accumulator<T>)};
}
template <class T>
CallCost cost(const RmsNormBackward<T>& call) {
  const double tokens = static_cast<double>(call.tokens), width = static_cast<double>(call.width);
  Work work = norm_statistics_gradient_work(call.width);
  work += norm_scale_gradient_work(call.width);
  if (call.d_weight) work += norm_weight_gradient_work(call.width);
  return {tokens * work.vector_flops_per_token, (tokens * 4 + 1) * width * sizeof(T) + tokens * sizeof(Accumulator<T>) +
                                                    (call.d_weight ? 2 * width * sizeof(Accumulator<T>) : 0)};
}

namespace cpu {
template <class T>
void rms_norm_forward(const RmsNormForward<T>& call);
template <class T>
void rms_norm_rebuild(const RmsNormRebuild<T>& call);
template <class T>
void rms_norm_backward(const RmsNormBackward<T>& call);
}  // namespace cpu

namespace cuda {
void rms_norm_forward(const RmsNormForward<BFloat16>& call, Stream stream);
void rms_norm_rebuild(const RmsNormRebuild<BFloat16>& call, Stream stream);
// `workspace`: rms_norm_backward_workspace() bytes of device memory for the partial sums of d_weight; null without one.
void rms_norm_backward(const RmsNormBackward<BFloat16>& call, void* workspace, Stream stream);
std::int64_t rms_norm_backward_workspace(std::int64_t tokens, std::int64_t width);
}  // namespace cuda

}  // namespace alchemist

// Attention over a part of the keys, for sequences whose keys several blocks or warps share: what one of them leaves
// for a row and head, and how such parts are put together, in a fixed order.
#pragma once

#include "kernels/cuda/attention_forward.cuh"

namespace alchemist::cuda {

// A part on its way through memory: sum of exp2(score - top), top, weighted sum of values.
template <int kDim>
inline constexpr int kPartFloats = kDim + 2;

// The parts of a warp's 16 rows first..first + 15, those from `end` on left out; row r's begins at to + r * stride.
template <int kDim>
__device__ void store_parts(float* to, std::int64_t stride, int first, int end, const OnlineSoftmax<kDim, 1>& softmax,
                            const float (&sums)[kDim / 8][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float total = lane_sum<4>(softmax.sum[0][half]);
    const int row = first + lane / 4 + 8 * half;
    if (row >= end) continue;
    float* part = to + row * stride;
    if (lane % 4 == 0) *reinterpret_cast<float2*>(part) = {total, softmax.maximum[0][half]};
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      *reinterpret_cast<float2*>(part + 2 + 8 * n + lane % 4 * 2) = {sums[n][2 * half], sums[n][2 * half + 1]};
    }
  }
}

// Puts `count` stored parts, `stride` floats apart, together for one element. Writes the output, or the part of them
// all if `output` is null.
__device__ inline void combine(const float* parts, int count, std::int64_t stride, int element, std::uint16_t* output,
                               float* log_sum_exp, float* part) {
  float top = -INFINITY, total = 0.0F, sum = 0.0F;
#pragma unroll 8
  for (int i = 0; i < count; ++i) top = fmaxf(top, parts[i * stride + 1]);
#pragma unroll 8
  for (int i = 0; i < count; ++i) {
    const float* stored = parts + i * stride;
    const float factor = exp2_approximate(stored[1] - top);  // 0 for a part without keys
    total += factor * stored[0];
    sum += factor * stored[2 + element];
  }
  if (output != nullptr) {
    output[element] = round_to_bf16(sum / total);
    if (log_sum_exp != nullptr && element == 0) *log_sum_exp = (top + log2f(total)) * kLn2;
    return;
  }
  part[2 + element] = sum;
  if (element == 0) {
    part[0] = total;
    part[1] = top;
  }
}

}  // namespace alchemist::cuda

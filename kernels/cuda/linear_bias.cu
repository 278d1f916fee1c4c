#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_bias.h"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kRunsAcross = 4;  // a block's columns
constexpr int kColumns = kRunsAcross * kRun;
constexpr int kRows = 128;
constexpr int kWarps = kRunsAcross * kRows / 32;
constexpr int kBatch = 4;  // rows that a thread has on their way at once

__global__ void spread_bias(LinearForward<BFloat16> call) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * kRun;
  if (column >= call.out) return;
  auto* y = reinterpret_cast<std::uint16_t*>(call.y) + blockIdx.x * call.y_stride + column;
  float bias[kRun], old[kRun] = {};
  load_run(bias, reinterpret_cast<const std::uint16_t*>(call.bias) + column);
  if (call.accumulate) load_run(old, y);
#pragma unroll
  for (int e = 0; e < kRun; ++e) bias[e] += old[e];
  store_run(y, bias);
}

// A block for 32 columns: 128 sums of every 128th row each, added over lanes and then over warps, in order.
__global__ void sum_rows(LinearWeightGradient<BFloat16> call) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kColumns + threadIdx.x * kRun;
  const auto* d_y = reinterpret_cast<const std::uint16_t*>(call.d_y) + column;
  float sum[kRun] = {};
  const std::int64_t rows = column < call.out ? call.tokens : 0;
  for (std::int64_t first = threadIdx.y; first < rows; first += kBatch * kRows) {
    uint4 loaded[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      if (first + i * kRows < rows) loaded[i] = load_bits(d_y + (first + i * kRows) * call.d_y_stride);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (first + i * kRows >= rows) continue;
      float values[kRun];
      unpack(values, loaded[i]);
#pragma unroll
      for (int e = 0; e < kRun; ++e) sum[e] += values[e];
    }
  }
  auto* sums = reinterpret_cast<float*>(shared_memory());
  const int thread = static_cast<int>(threadIdx.y) * kRunsAcross + static_cast<int>(threadIdx.x);
#pragma unroll
  for (int e = 0; e < kRun; ++e) {
#pragma unroll
    for (int mask = 16; mask >= kRunsAcross; mask /= 2) sum[e] += shuffle_xor(sum[e], mask);
    if (thread % 32 < kRunsAcross) sums[thread / 32 * kColumns + threadIdx.x * kRun + e] = sum[e];
  }
  __syncthreads();
  const std::int64_t own = static_cast<std::int64_t>(blockIdx.x) * kColumns + thread;
  if (thread >= kColumns || own >= call.out) return;
  float all = 0.0F;
  for (int warp = 0; warp < kWarps; ++warp) all += sums[warp * kColumns + thread];
  call.d_bias[own] += call.scale * all;
}

}  // namespace

void start_with_bias(const LinearForward<BFloat16>& call, Stream stream) {
  check_runs(call.out | call.y_stride, "linear: a bias of whole runs");
  launch(spread_bias, dim3(static_cast<unsigned>(call.tokens), blocks_for(call.out / kRun, kThreads)), dim3(kThreads),
         0, stream, call);
}

void add_bias_gradient(const LinearWeightGradient<BFloat16>& call, Stream stream) {
  check_runs(call.out | call.d_y_stride, "linear: a bias gradient of whole runs");
  launch(sum_rows, dim3(blocks_for(call.out, kColumns)), dim3(kRunsAcross, kRows), kWarps * kColumns * sizeof(float),
         stream, call);
}

}  // namespace alchemist::cuda

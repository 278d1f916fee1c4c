#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_bias.h"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kColumns = 32;
constexpr int kRows = 16;

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

// A block for 32 columns: sixteen sums of every sixteenth row each, added in order.
__global__ void sum_rows(LinearWeightGradient<BFloat16> call) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  const auto* d_y = reinterpret_cast<const std::uint16_t*>(call.d_y);
  float sum = 0.0F;
  if (column < call.out) {
#pragma unroll 4
    for (std::int64_t row = threadIdx.y; row < call.tokens; row += kRows)
      sum += from_bf16(d_y[row * call.d_y_stride + column]);
  }
  auto* sums = reinterpret_cast<float*>(shared_memory());
  sums[threadIdx.y * kColumns + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= call.out) return;
  for (int i = 1; i < kRows; ++i) sum += sums[i * kColumns + threadIdx.x];
  call.d_bias[column] += call.scale * sum;
}

}  // namespace

void start_with_bias(const LinearForward<BFloat16>& call, Stream stream) {
  check_runs(call.out | call.y_stride, "linear: a bias of whole runs");
  launch(spread_bias, dim3(static_cast<unsigned>(call.tokens), blocks_for(call.out / kRun, kThreads)), dim3(kThreads),
         0, stream, call);
}

void add_bias_gradient(const LinearWeightGradient<BFloat16>& call, Stream stream) {
  launch(sum_rows, dim3(blocks_for(call.out, kColumns)), dim3(kColumns, kRows), kColumns * kRows * sizeof(float),
         stream, call);
}

}  // namespace alchemist::cuda

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/residual.h"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void add(const std::uint16_t* a, const std::uint16_t* b, std::uint16_t* y, std::int64_t count) {
  const std::int64_t at = global_thread() * kRun;
  if (at + kRun <= count) {
    float left[kRun], right[kRun];
    load_run(left, a + at);
    load_run(right, b + at);
#pragma unroll
    for (int e = 0; e < kRun; ++e) left[e] += right[e];
    store_run(y + at, left);
    return;
  }
  for (std::int64_t i = at; i < count; ++i) y[i] = round_to_bf16(from_bf16(a[i]) + from_bf16(b[i]));
}

}  // namespace

void residual_add(const ResidualAdd<BFloat16>& call, Stream stream) {
  launch(add, dim3(blocks_for(call.count, kThreads * kRun)), dim3(kThreads), 0, stream, bits(call.a), bits(call.b),
         bits(call.y), call.count);
}

}  // namespace alchemist::cuda

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/rotary.h"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 64;  // with few threads idle for 40 heads as for 32

// A thread turns eight pairs of one head.
__global__ void rotate(Rotary<BFloat16> call) {
  const std::int64_t half = call.head_dim / 2;
  const auto runs = static_cast<int>(half / kRun);
  const int index = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  const int head = index / runs;
  if (head >= call.heads) return;
  const std::int64_t j = static_cast<std::int64_t>(index % runs) * kRun;
  const std::int64_t table = call.positions[blockIdx.x] * half + j;
  auto* low = reinterpret_cast<std::uint16_t*>(call.x) + blockIdx.x * call.row_stride + head * call.head_dim + j;
  float a[kRun], b[kRun], c[kRun], s[kRun], x[kRun], y[kRun];
  load_run(a, low);
  load_run(b, low + half);
  load_run(c, call.cosine + table);
  load_run(s, call.sine + table);
#pragma unroll
  for (int e = 0; e < kRun; ++e) {
    const float sine = call.inverse ? -s[e] : s[e];
    x[e] = a[e] * c[e] - b[e] * sine;
    y[e] = b[e] * c[e] + a[e] * sine;
  }
  store_run(low, x);
  store_run(low + half, y);
}

}  // namespace

void rotary(const Rotary<BFloat16>& call, Stream stream) {
  check_runs(call.head_dim / 2, "rotary: half a head of whole runs");
  check_runs(call.row_stride, "rotary: a stride of whole runs");
  launch(rotate, dim3(static_cast<unsigned>(call.tokens), blocks_for(call.heads * call.head_dim / 2 / kRun, kThreads)),
         dim3(kThreads), 0, stream, call);
}

}  // namespace alchemist::cuda

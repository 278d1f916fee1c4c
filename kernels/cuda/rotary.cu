#include <cstdint>
#include <numeric>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/rotary.h"

namespace alchemist::cuda {
namespace {

constexpr int kMostThreads = 512;
constexpr int kHeads = 5;  // of a thread: Llama-3's 40 of queries and keys take two whole warps

// A thread turns the same eight pairs of up to five heads of a token, by the same angles. x of the block counts runs of
// pairs, y with y of the grid heads.
__global__ void __launch_bounds__(kMostThreads) rotate(Rotary<BFloat16> call) {
  const int head_dim = static_cast<int>(call.head_dim), half = head_dim / 2, j = static_cast<int>(threadIdx.x) * kRun;
  const int step = static_cast<int>(gridDim.y * blockDim.y) * head_dim, end = static_cast<int>(call.heads) * head_dim;
  const int first = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y) * head_dim;
  auto* row = reinterpret_cast<std::uint16_t*>(call.x) + blockIdx.x * call.row_stride + j;
  uint4 low[kHeads], high[kHeads];
#pragma unroll
  for (int i = 0; i < kHeads; ++i) {
    const int at = first + i * step;
    if (at >= end) continue;
    low[i] = load_bits(row + at);
    high[i] = load_bits(row + at + half);
  }
  // The angles wait for the position. The barrier keeps the compiler from having heads wait behind them.
  __syncthreads();
  const std::int64_t angles = static_cast<std::int64_t>(call.positions[blockIdx.x]) * half + j;
  float c[kRun], s[kRun];
  load_run(c, call.cosine + angles);
  load_run(s, call.sine + angles);
  if (call.inverse) {
#pragma unroll
    for (float& sine : s) sine = -sine;
  }
#pragma unroll
  for (int i = 0; i < kHeads; ++i) {
    const int at = first + i * step;
    if (at >= end) continue;
    float a[kRun], b[kRun], x[kRun], y[kRun];
    unpack(a, low[i]);
    unpack(b, high[i]);
#pragma unroll
    for (int e = 0; e < kRun; ++e) {
      x[e] = a[e] * c[e] - b[e] * s[e];
      y[e] = b[e] * c[e] + a[e] * s[e];
    }
    store_run(row + at, x);
    store_run(row + at + half, y);
  }
}

}  // namespace

void rotary(const Rotary<BFloat16>& call, Stream stream) {
  check_runs(call.head_dim / 2, "rotary: half a head of whole runs");
  check_runs(call.row_stride, "rotary: a stride of whole runs");
  // Threads for as many heads as take whole warps.
  constexpr std::int64_t kWarp = 32;
  const std::int64_t runs = call.head_dim / 2 / kRun, unit = kWarp / std::gcd(runs, kWarp);
  check(runs * unit <= kMostThreads && call.heads * call.head_dim <= INT32_MAX, "rotary: heads that a block can take");
  const std::int64_t threads = (call.heads + kHeads - 1) / kHeads, most = kMostThreads / (runs * unit) * unit;
  const unsigned blocks = blocks_for(threads, most);
  if (blocks == 0) return;
  launch(rotate, dim3(static_cast<unsigned>(call.tokens), blocks),
         dim3(static_cast<unsigned>(runs), blocks_for(threads, blocks * unit) * static_cast<unsigned>(unit)), 0, stream,
         call);
}

}  // namespace alchemist::cuda

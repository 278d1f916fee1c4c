#include <algorithm>

#include "kernels/cuda/column_sums.cuh"
#include "kernels/cuda/dispatch.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/head_norm.h"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 256;
// Blocks of a backward that adds up weights' gradients, each of which leaves a partial sum; enough for a large GPU, and
// as many on every GPU, so that the sums are the same.
constexpr std::int64_t kPartialRows = 264;
constexpr std::int64_t kBlocksWithoutPartials = 4096;

// Each has a run of eight in the head's lower half and the run that is turned with it in the upper.
constexpr int lanes_of(int head_dim) { return head_dim / (2 * kRun); }
struct Runs {
  float low[kRun], high[kRun];
};

__device__ __forceinline__ Runs load_runs(const std::uint16_t* head, int half) {
  Runs runs;
  load_run(runs.low, head);
  load_run(runs.high, head + half);
  return runs;
}

__device__ __forceinline__ void store_runs(std::uint16_t* head, int half, const Runs& runs) {
  store_run(head, runs.low);
  store_run(head + half, runs.high);
}

// sum_j a[j] * b[j] over the head, in each of its threads.
template <int kLanes>
__device__ __forceinline__ float head_sum(const Runs& a, const Runs& b) {
  float sum = 0.0F;
#pragma unroll
  for (int e = 0; e < kRun; ++e) sum += a.low[e] * b.low[e] + a.high[e] * b.high[e];
  return lane_sum<kLanes>(sum);
}

// By the angles of the token at this thread's run.
__device__ __forceinline__ Runs rotated(const Runs& x, const NormedHeads<BFloat16>& n, std::int64_t token, int run,
                                        float direction) {
  const std::int64_t angles = static_cast<std::int64_t>(n.positions[token]) * (n.head_dim / 2) + run;
  float c[kRun], s[kRun];
  load_run(c, n.cosine + angles);
  load_run(s, n.sine + angles);
  Runs y;
#pragma unroll
  for (int e = 0; e < kRun; ++e) {
    const float sine = direction * s[e];
    y.low[e] = x.low[e] * c[e] - x.high[e] * sine;
    y.high[e] = x.high[e] * c[e] + x.low[e] * sine;
  }
  return y;
}

template <int kLanes>
__global__ void __launch_bounds__(kThreads) norm_heads(HeadNormForward<BFloat16> call) {
  const NormedHeads<BFloat16>& n = call.heads;
  const int heads = static_cast<int>(n.q_heads + n.k_heads), head_dim = static_cast<int>(n.head_dim),
            half = head_dim / 2;
  const int unit = static_cast<int>(global_thread()) / kLanes, run = static_cast<int>(threadIdx.x) % kLanes * kRun;
  const bool inside = unit < static_cast<int>(n.tokens) * heads;  // others have their part in the sums of a warp
  const std::int64_t token = inside ? unit / heads : 0;
  const int head = inside ? unit % heads : 0, at = head * head_dim + run;
  const Runs x = load_runs(bits(n.x) + token * n.x_stride + at, half);
  const Runs weight = load_runs(bits(head < n.q_heads ? n.q_weight : n.k_weight) + run, half);
  float* place = n.rstd + token * n.rstd_stride + head;
  const float rstd =
      call.rstd_is_known ? *place : 1.0F / sqrtf(head_sum<kLanes>(x, x) / static_cast<float>(head_dim) + call.epsilon);
  Runs normed;
#pragma unroll
  for (int e = 0; e < kRun; ++e) {
    normed.low[e] = x.low[e] * rstd * weight.low[e];
    normed.high[e] = x.high[e] * rstd * weight.high[e];
  }
  if (!inside) return;
  if (!call.rstd_is_known && n.rstd != nullptr && run == 0) *place = rstd;
  store_runs(bits(call.y) + token * call.y_stride + at, half, rotated(normed, n, token, run, 1.0F));
}

// Block y = 0 does queries, y = 1 keys. If asked, block (x, y) leaves its sum of the weight's gradient in row x of the
// kind's part of `partial` [2, blocks, head_dim].
template <int kLanes, bool kTrainWeight>
__global__ void __launch_bounds__(kThreads) norm_heads_backward(HeadNormBackward<BFloat16> call, float* partial) {
  constexpr int kSlots = kThreads / kLanes;
  const NormedHeads<BFloat16>& n = call.heads;
  const bool keys = blockIdx.y == 1;
  const int heads = static_cast<int>(keys ? n.k_heads : n.q_heads), first = keys ? static_cast<int>(n.q_heads) : 0;
  const int head_dim = static_cast<int>(n.head_dim), half = head_dim / 2, units = static_cast<int>(n.tokens) * heads;
  const int slot = static_cast<int>(threadIdx.x) / kLanes, run = static_cast<int>(threadIdx.x) % kLanes * kRun;
  const Runs weight = load_runs(bits(keys ? n.k_weight : n.q_weight) + run, half);
  Runs sums{};
  for (int begin = static_cast<int>(blockIdx.x) * kSlots; begin < units;
       begin += static_cast<int>(gridDim.x) * kSlots) {
    const int unit = begin + slot;
    const bool inside = unit < units;  // others have their part in the sums of a warp
    const std::int64_t token = inside ? unit / heads : 0;
    const int head = first + (inside ? unit % heads : 0), at = head * head_dim + run;
    std::uint16_t* d = bits(call.d) + token * call.d_stride + at;
    const Runs x = load_runs(bits(n.x) + token * n.x_stride + at, half);
    const Runs g = rotated(load_runs(d, half), n, token, run, -1.0F);
    const float rstd = n.rstd[token * n.rstd_stride + head];
    Runs scaled;
#pragma unroll
    for (int e = 0; e < kRun; ++e) {
      scaled.low[e] = weight.low[e] * g.low[e];
      scaled.high[e] = weight.high[e] * g.high[e];
    }
    const float mean = head_sum<kLanes>(scaled, x) / static_cast<float>(head_dim) * rstd * rstd;
    if (!inside) continue;
    Runs d_x;
#pragma unroll
    for (int e = 0; e < kRun; ++e) {
      d_x.low[e] = rstd * (scaled.low[e] - x.low[e] * mean);
      d_x.high[e] = rstd * (scaled.high[e] - x.high[e] * mean);
      if constexpr (kTrainWeight) {
        sums.low[e] += g.low[e] * x.low[e] * rstd;
        sums.high[e] += g.high[e] * x.high[e] * rstd;
      }
    }
    store_runs(d, half, d_x);
  }
  if constexpr (kTrainWeight) {
    auto* shared = reinterpret_cast<float*>(shared_memory());  // [kSlots, head_dim]
    store_run(shared + slot * head_dim + run, sums.low);
    store_run(shared + slot * head_dim + half + run, sums.high);
    __syncthreads();
    float* row = partial + (static_cast<std::int64_t>(blockIdx.y) * gridDim.x + blockIdx.x) * head_dim;
    for (int j = static_cast<int>(threadIdx.x); j < head_dim; j += kThreads) {
      float sum = 0.0F;
      for (int s = 0; s < kSlots; ++s) sum += shared[s * head_dim + j];
      row[j] = sum;
    }
  }
}

std::int64_t blocks_of_backward(const HeadNormBackward<BFloat16>& call) {
  const NormedHeads<BFloat16>& n = call.heads;
  const std::int64_t threads = n.tokens * std::max(n.q_heads, n.k_heads) * n.head_dim / (2 * kRun);
  return std::min<std::int64_t>(blocks_for(threads, kThreads), call.d_q_weight ? kPartialRows : kBlocksWithoutPartials);
}

void check_heads(const NormedHeads<BFloat16>& n, std::int64_t stride) {
  check_runs(n.x_stride, "norm of heads: a stride of whole runs");
  check_runs(stride, "norm of heads: a stride of whole runs");
  check(n.tokens * n.count() * n.head_dim <= INT32_MAX, "norm of heads: fewer heads in a call");
}

}  // namespace

void head_norm_forward(const HeadNormForward<BFloat16>& call, Stream stream) {
  const NormedHeads<BFloat16>& n = call.heads;
  check_heads(n, call.y_stride);
  with_head_dim(static_cast<int>(n.head_dim), [&](auto head_dim) {
    constexpr int kLanes = lanes_of(head_dim());
    launch(norm_heads<kLanes>, dim3(blocks_for(n.tokens * n.count() * kLanes, kThreads)), dim3(kThreads), 0, stream,
           call);
  });
}

void head_norm_backward(const HeadNormBackward<BFloat16>& call, void* workspace, Stream stream) {
  const NormedHeads<BFloat16>& n = call.heads;
  check_heads(n, call.d_stride);
  const std::int64_t blocks = blocks_of_backward(call);
  const dim3 grid(static_cast<unsigned>(blocks), 2);
  auto* partial = static_cast<float*>(workspace);
  with_head_dim(static_cast<int>(n.head_dim), [&](auto head_dim) {
    constexpr int kLanes = lanes_of(head_dim());
    constexpr std::size_t kSums = kThreads / kLanes * head_dim() * sizeof(float);
    if (call.d_q_weight == nullptr) {
      launch(norm_heads_backward<kLanes, false>, grid, dim3(kThreads), 0, stream, call, nullptr);
    } else {
      launch(norm_heads_backward<kLanes, true>, grid, dim3(kThreads), kSums, stream, call, partial);
    }
  });
  if (call.d_q_weight == nullptr) return;
  launch_add_columns(partial, blocks, n.head_dim, call.d_q_weight, stream);
  launch_add_columns(partial + blocks * n.head_dim, blocks, n.head_dim, call.d_k_weight, stream);
}

std::int64_t head_norm_backward_workspace(const HeadNormBackward<BFloat16>& call) {
  if (call.d_q_weight == nullptr) return 0;
  return 2 * blocks_of_backward(call) * call.heads.head_dim * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace alchemist::cuda

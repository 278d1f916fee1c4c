#include "kernels/cross_entropy.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr std::size_t kScratchBytes = 2 * kWarps * sizeof(float);

__device__ float* scratch() { return reinterpret_cast<float*>(shared_memory()); }

// exp(x) over 2^base: one instruction in front of the exponential, where exp(x - base) would take two. Whatever `base`
// was rounded to, it is the same for all.
__device__ __forceinline__ float exponential(float x, float base) { return exp2_approximate(fmaf(x, kLog2E, -base)); }

constexpr int kBatch = 4;  // runs that a thread has on their way at once, while it works on as many

// Calls body(column, values) for this thread's logits of a row, eight at a time and one by one at the end; rows that do
// not begin at 16 bytes are read one by one. From the end on, a second pass finds in the cache what the first read
// last.
template <bool kFromEnd = false, typename Body>
__device__ __forceinline__ void for_logits(const std::uint16_t* row, std::int64_t vocabulary, const Body& body) {
  const std::int64_t whole = vocabulary % kRun == 0 ? vocabulary : 0;
  const auto column_of = [&](std::int64_t first, int i) {
    const std::int64_t at = first + i * kThreads * kRun;
    return kFromEnd ? whole - kRun - at : at;
  };
  const auto load = [&](uint4(&runs)[kBatch], std::int64_t first) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const std::int64_t column = column_of(first, i);
      if (column >= 0 && column < whole) runs[i] = load_bits(row + column);
    }
  };
  uint4 next[kBatch];
  std::int64_t first = threadIdx.x * kRun;
  load(next, first);
  for (; first < whole; first += kBatch * kThreads * kRun) {
    uint4 runs[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) runs[i] = next[i];
    load(next, first + kBatch * kThreads * kRun);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const std::int64_t column = column_of(first, i);
      if (column < 0 || column >= whole) continue;
      float values[kRun];
      unpack(values, runs[i]);
      body(column, values);
    }
  }
  for (std::int64_t column = whole + threadIdx.x; column < vocabulary; column += kThreads) {
    const float values[1] = {from_bf16(row[column])};
    body(column, values);
  }
}

template <int kCount>
__device__ void store_logits(std::uint16_t* to, const float (&values)[kCount]) {
  if constexpr (kCount == kRun) {
    store_run(to, values);
  } else {
    *to = round_to_bf16(values[0]);
  }
}

// log2(sum exp) of the row, the same in every thread: one pass with a running maximum, which begins below every logit
// but finite, so that nothing branches on it.
__device__ float log2_sum_exp(const std::uint16_t* row, std::int64_t vocabulary) {
  float top = -1e30F, base = top * kLog2E, sum = 0.0F;
  for_logits(row, vocabulary, [&]<int kCount>(std::int64_t, const float(&values)[kCount]) {
#pragma unroll
    for (int e = 0; e < kCount; ++e) top = fmaxf(top, values[e]);
    const float new_base = top * kLog2E;
    sum *= exp2_approximate(base - new_base);
    base = new_base;
#pragma unroll
    for (int e = 0; e < kCount; ++e) sum += exponential(values[e], base);
  });
  float* bases = scratch() + kWarps;
  const float warp_base = lane_max(base);
  if (threadIdx.x % 32 == 0) bases[threadIdx.x / 32] = warp_base;
  __syncthreads();
  float row_base = bases[0];
  for (int warp = 1; warp < kWarps; ++warp) row_base = fmaxf(row_base, bases[warp]);
  sum = block_sum(sum * exp2_approximate(base - row_base), scratch());
  return row_base + log2f(sum);
}

__global__ void __launch_bounds__(kThreads, 2) loss_and_gradient(CrossEntropy<BFloat16> call) {
  const std::int64_t token = blockIdx.x;
  auto* row = reinterpret_cast<std::uint16_t*>(call.logits) + token * call.vocabulary;
  const std::int64_t target = call.targets[token];
  const float target_logit = from_bf16(row[target]);
  const float total = log2_sum_exp(row, call.vocabulary);  // holds barriers: nobody writes before all have read
  if (threadIdx.x == 0) call.loss[token] = total * kLn2 - target_logit;
  if (!call.gradient) return;
  const float weight = call.weight[token];
  for_logits<true>(row, call.vocabulary, [&]<int kCount>(std::int64_t column, const float(&values)[kCount]) {
    float gradient[kCount];
#pragma unroll
    for (int e = 0; e < kCount; ++e)
      gradient[e] = weight * (exponential(values[e], total) - (column + e == target ? 1.0F : 0.0F));
    store_logits(row + column, gradient);
  });
}

// Tokens are compared as floats would be, exactly: 2^24 is above every vocabulary.
__global__ void __launch_bounds__(kThreads, 2) most_likely(Argmax<BFloat16> call) {
  const auto* row = reinterpret_cast<const std::uint16_t*>(call.logits) + blockIdx.x * call.vocabulary;
  float best = -INFINITY, token = static_cast<float>(call.vocabulary);
  for_logits(row, call.vocabulary, [&]<int kCount>(std::int64_t column, const float(&values)[kCount]) {
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      if (values[e] <= best) continue;
      best = values[e];
      token = static_cast<float>(column + e);
    }
  });
  const auto take_better = [&](float other, float other_token) {
    if (other < best || (other == best && other_token >= token)) return;
    best = other;
    token = other_token;
  };
  for (int mask = 16; mask > 0; mask /= 2) take_better(shuffle_xor(best, mask), shuffle_xor(token, mask));
  if (threadIdx.x % 32 == 0) {
    scratch()[threadIdx.x / 32] = best;
    scratch()[kWarps + threadIdx.x / 32] = token;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kWarps; ++warp) take_better(scratch()[warp], scratch()[kWarps + warp]);
  call.tokens[blockIdx.x] = token < static_cast<float>(call.vocabulary) ? static_cast<std::int32_t>(token) : 0;
}

}  // namespace

void cross_entropy(const CrossEntropy<BFloat16>& call, Stream stream) {
  launch(loss_and_gradient, dim3(static_cast<unsigned>(call.rows)), dim3(kThreads), kScratchBytes, stream, call);
}

void argmax(const Argmax<BFloat16>& call, Stream stream) {
  check(call.vocabulary < (std::int64_t{1} << 24), "argmax: a vocabulary that floats can count");
  launch(most_likely, dim3(static_cast<unsigned>(call.rows)), dim3(kThreads), kScratchBytes, stream, call);
}

}  // namespace alchemist::cuda

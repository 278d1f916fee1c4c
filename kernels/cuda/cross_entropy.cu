#include <algorithm>

#include "kernels/cross_entropy.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

// A thread of a block for each 16 bytes of a stretch of the row, again and again. With gradients a block has an SM to
// itself, for the row's sake.
constexpr int kThreads = 512;
constexpr int kGradientThreads = 1024;
constexpr int kMostWarps = kGradientThreads / 32;
constexpr std::size_t kScratchBytes = 2 * kMostWarps * sizeof(float);

__device__ float* scratch() { return reinterpret_cast<float*>(shared_memory()); }

// exp(x) over 2^base: one instruction in front of the exponential, where exp(x - base) would take two. Whatever `base`
// was rounded to, it is the same for all.
__device__ __forceinline__ float exponential(float x, float base) { return exp2_approximate(fmaf(x, kLog2E, -base)); }

// Logits as they are stored: eight, or one of a row that does not begin at 16 bytes.
template <typename Stored>
constexpr int kCount = 1;
template <>
constexpr int kCount<uint4> = kRun;

__device__ __forceinline__ void unpack(float (&to)[1], std::uint16_t logit) { to[0] = from_bf16(logit); }
using cuda::unpack;

constexpr int kBatch = 4;  // runs that a thread has on their way at once, while it works on as many

template <int kBlock>
__device__ __forceinline__ void load_batch(uint4 (&runs)[kBatch], const std::uint16_t* row, int first, int end) {
#pragma unroll
  for (int i = 0; i < kBatch; ++i) {
    const int column = first + i * kBlock * kRun;
    if (column < end) runs[i] = load_bits(row + column);
  }
}

// Calls body(column, run) for this thread's runs from its column `first` on; `next` holds the first batch of them.
template <int kBlock, typename Body>
__device__ __forceinline__ void for_runs(uint4 (&next)[kBatch], const std::uint16_t* row, int first, int end,
                                         const Body& body) {
  constexpr int kStep = kBatch * kBlock * kRun;
  for (; first < end; first += kStep) {
    uint4 runs[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) runs[i] = next[i];
    load_batch<kBlock>(next, row, first + kStep, end);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int column = first + i * kBlock * kRun;
      if (column < end) body(column, runs[i]);
    }
  }
}

// What of a row is read in whole runs: all or, if not every row begins at 16 bytes, nothing.
__device__ __forceinline__ int whole_runs(int vocabulary) { return vocabulary % kRun == 0 ? vocabulary : 0; }

// Calls body(column, logits) for what for_runs leaves out.
template <int kBlock, typename Body>
__device__ __forceinline__ void for_single_logits(const std::uint16_t* row, int vocabulary, const Body& body) {
  for (int column = whole_runs(vocabulary) + static_cast<int>(threadIdx.x); column < vocabulary; column += kBlock)
    body(column, row[column]);
}

template <int kBlock, typename Body>
__device__ __forceinline__ void for_logits(const std::uint16_t* row, int vocabulary, const Body& body) {
  const int first = static_cast<int>(threadIdx.x) * kRun, whole = whole_runs(vocabulary);
  uint4 next[kBatch];
  load_batch<kBlock>(next, row, first, whole);
  for_runs<kBlock>(next, row, first, whole, body);
  for_single_logits<kBlock>(row, vocabulary, body);
}

__device__ __forceinline__ void store_logits(std::uint16_t* to, const float (&values)[kRun]) { store_run(to, values); }
__device__ __forceinline__ void store_logits(std::uint16_t* to, const float (&value)[1]) {
  *to = round_to_bf16(value[0]);
}

// A sum of exponentials over 2^base with a running maximum, which begins below every logit but finite, so that nothing
// branches on it.
struct ExponentialSum {
  float top = -1e30F, base = top * kLog2E, sum = 0.0F;

  template <int kValues>
  __device__ __forceinline__ void add(const float (&values)[kValues]) {
#pragma unroll
    for (int e = 0; e < kValues; ++e) top = fmaxf(top, values[e]);
    const float new_base = top * kLog2E;
    sum *= exp2_approximate(base - new_base);
    base = new_base;
#pragma unroll
    for (int e = 0; e < kValues; ++e) sum += exponential(values[e], base);
  }

  // log2 of the sums of all threads, the same in each of them.
  template <int kBlock>
  __device__ float log2_of_block() const {
    constexpr int kWarps = kBlock / 32;
    float* bases = scratch() + kMostWarps;
    const float warp_base = lane_max(base);
    if (threadIdx.x % 32 == 0) bases[threadIdx.x / 32] = warp_base;
    __syncthreads();
    float row_base = bases[0];
    for (int warp = 1; warp < kWarps; ++warp) row_base = fmaxf(row_base, bases[warp]);
    return row_base + log2f(block_sum(sum * exp2_approximate(base - row_base), scratch()));
  }
};

__global__ void __launch_bounds__(kThreads, 2) loss_alone(CrossEntropy<BFloat16> call) {
  const auto* row = reinterpret_cast<const std::uint16_t*>(call.logits) + blockIdx.x * call.vocabulary;
  ExponentialSum sum;
  for_logits<kThreads>(row, static_cast<int>(call.vocabulary), [&]<typename Stored>(int, Stored stored) {
    float values[kCount<Stored>];
    unpack(values, stored);
    sum.add(values);
  });
  const float total = sum.log2_of_block<kThreads>();
  if (threadIdx.x == 0) call.loss[blockIdx.x] = total * kLn2 - from_bf16(row[call.targets[blockIdx.x]]);
}

// Keeps the first `kept` logits of the row in shared memory on the first pass, so that what the second must read once
// more is a tenth of Llama-3's row on an H200: rows in work as a whole are more than its second level's cache holds.
__global__ void __launch_bounds__(kGradientThreads, 1) loss_and_gradient(CrossEntropy<BFloat16> call, int kept) {
  auto* row = reinterpret_cast<std::uint16_t*>(call.logits) + blockIdx.x * call.vocabulary;
  auto* copy = reinterpret_cast<std::uint16_t*>(shared_memory() + kScratchBytes);
  const int vocabulary = static_cast<int>(call.vocabulary), whole = whole_runs(vocabulary);
  const int first = static_cast<int>(threadIdx.x) * kRun;
  const int target = call.targets[blockIdx.x];
  const float weight = call.weight[blockIdx.x];
  ExponentialSum sum;
  for_logits<kGradientThreads>(row, vocabulary, [&]<typename Stored>(int column, Stored stored) {
    if constexpr (kCount<Stored> == kRun) {
      if (column < kept) *reinterpret_cast<uint4*>(copy + column) = stored;
    }
    float values[kCount<Stored>];
    unpack(values, stored);
    sum.add(values);
  });
  uint4 next[kBatch];  // come while the sum is made
  load_batch<kGradientThreads>(next, row, kept + first, whole);
  const float target_logit = from_bf16(row[target]);
  const float total = sum.log2_of_block<kGradientThreads>();  // holds barriers: nobody writes before all have read
  if (threadIdx.x == 0) call.loss[blockIdx.x] = total * kLn2 - target_logit;
  const auto store_gradient = [&]<typename Stored>(int column, Stored stored) {
    float values[kCount<Stored>], gradient[kCount<Stored>];
    unpack(values, stored);
#pragma unroll
    for (int e = 0; e < kCount<Stored>; ++e) gradient[e] = weight * exponential(values[e], total);
    if (static_cast<unsigned>(target - column) < static_cast<unsigned>(kCount<Stored>)) {
#pragma unroll
      for (int e = 0; e < kCount<Stored>; ++e)
        if (column + e == target) gradient[e] = weight * (exponential(values[e], total) - 1.0F);
    }
    store_logits(row + column, gradient);
  };
  for_runs<kGradientThreads>(next, row, kept + first, whole, store_gradient);
  // A thread finds what it has left there itself.
  for (int column = first; column < kept; column += kGradientThreads * kRun)
    store_gradient(column, *reinterpret_cast<const uint4*>(copy + column));
  for_single_logits<kGradientThreads>(row, vocabulary, store_gradient);
}

// Tokens are compared as floats would be, exactly: 2^24 is above every vocabulary.
__global__ void __launch_bounds__(kThreads, 2) most_likely(Argmax<BFloat16> call) {
  const auto* row = reinterpret_cast<const std::uint16_t*>(call.logits) + blockIdx.x * call.vocabulary;
  float best = -INFINITY, token = static_cast<float>(call.vocabulary);
  for_logits<kThreads>(row, static_cast<int>(call.vocabulary), [&]<typename Stored>(int column, Stored stored) {
    float values[kCount<Stored>];
    unpack(values, stored);
#pragma unroll
    for (int e = 0; e < kCount<Stored>; ++e) {
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
    scratch()[kMostWarps + threadIdx.x / 32] = token;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kThreads / 32; ++warp) take_better(scratch()[warp], scratch()[kMostWarps + warp]);
  call.tokens[blockIdx.x] = token < static_cast<float>(call.vocabulary) ? static_cast<std::int32_t>(token) : 0;
}

// What a block's shared memory can hold of a row, in whole runs.
int logits_in_shared_memory(std::int64_t vocabulary) {
  int device = 0, most_bytes = 0;
  check_cuda(cudaGetDevice(&device), "device in use");
  check_cuda(cudaDeviceGetAttribute(&most_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
             "shared memory of a block");
  const auto most = (static_cast<std::size_t>(most_bytes) - kScratchBytes) / sizeof(std::uint16_t) / kRun * kRun;
  return vocabulary % kRun == 0 ? static_cast<int>(std::min<std::int64_t>(vocabulary, static_cast<std::int64_t>(most)))
                                : 0;
}

constexpr std::int64_t kMostLogits = std::int64_t{1} << 24;  // all that floats can count

}  // namespace

void cross_entropy(const CrossEntropy<BFloat16>& call, Stream stream) {
  check(call.vocabulary < kMostLogits, "cross-entropy: a vocabulary of less than 2^24 tokens");
  const dim3 rows(static_cast<unsigned>(call.rows));
  if (!call.gradient) {
    launch(loss_alone, rows, dim3(kThreads), kScratchBytes, stream, call);
    return;
  }
  const int kept = logits_in_shared_memory(call.vocabulary);
  launch(loss_and_gradient, rows, dim3(kGradientThreads),
         kScratchBytes + static_cast<std::size_t>(kept) * sizeof(*call.logits), stream, call, kept);
}

void argmax(const Argmax<BFloat16>& call, Stream stream) {
  check(call.vocabulary < kMostLogits, "argmax: a vocabulary that floats can count");
  launch(most_likely, dim3(static_cast<unsigned>(call.rows)), dim3(kThreads), kScratchBytes, stream, call);
}

}  // namespace alchemist::cuda

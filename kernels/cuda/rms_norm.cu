#include <algorithm>
#include <type_traits>

#include "kernels/cuda/column_sums.cuh"
#include "kernels/cuda/paged_units.cuh"
#include "kernels/rms_norm.h"

namespace alchemist::cuda {
namespace {

// A block computes a row at a time and keeps it in registers: up to kRuns runs of eight a thread, or so few that there
// are registers for the next row as well.
constexpr int kRuns = 4;
constexpr int kRunsOfTwoRows = 2;
constexpr int kMostThreads = 512;  // as many as have registers for a row each way
// Partial sums of d_weight: enough blocks to fill a large GPU, two on an SM, and no more, for all that they leave is
// written and read once more. The same on every GPU, so that the sums are too.
constexpr std::int64_t kPartialRows = 264;
constexpr std::int64_t kBlocksWithoutPartials = 4096;

int threads_for(std::int64_t width, int runs = kRuns) {
  check_runs(width, "norm: a width of whole runs");
  const std::int64_t threads = (width / kRun + runs - 1) / runs;
  check(threads <= kMostThreads, "norm: at most 16384 columns");
  return static_cast<int>((threads + 31) / 32 * 32);
}

constexpr std::size_t kScratchBytes = 32 * sizeof(float);

__device__ float* scratch() { return reinterpret_cast<float*>(shared_memory()); }

// Calls body(i, column) for this thread's runs of a row.
template <int kCount = kRuns, typename Body>
__device__ __forceinline__ void for_runs(std::int64_t width, const Body& body) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const std::int64_t column = (static_cast<std::int64_t>(threadIdx.x) + i * blockDim.x) * kRun;
    if (column < width) body(i, column);
  }
}

// One place for the forward's last step, so that it can be rebuilt to the bit.
__device__ __forceinline__ void store_scaled(std::uint16_t* y, uint4 x, uint4 weight, float rstd) {
  float a[kRun], w[kRun];
  unpack(a, x);
  unpack(w, weight);
#pragma unroll
  for (int e = 0; e < kRun; ++e) a[e] = a[e] * rstd * w[e];
  store_run(y, a);
}

template <typename Record>
__global__ void __launch_bounds__(kMostThreads)
    norm_forward(RmsNormForward<BFloat16> call, Record record, PagedUnits<float> rstd_record) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * call.width;
  const auto* x = reinterpret_cast<const std::uint16_t*>(call.x) + row;
  const auto* branch = reinterpret_cast<const std::uint16_t*>(call.branch) + row;
  auto* sum = reinterpret_cast<std::uint16_t*>(call.sum) + row;
  const auto* weight = reinterpret_cast<const std::uint16_t*>(call.weight);
  // As it is stored, which takes half of the registers: with more blocks on an SM more loads are on their way.
  uint4 packed[kRuns], other[kRuns];
  for_runs(call.width, [&](int i, std::int64_t column) {
    packed[i] = load_bits(x + column);
    if (call.branch != nullptr) other[i] = load_bits(branch + column);
  });
  float squares = 0.0F;
  for_runs(call.width, [&](int i, std::int64_t column) {
    float values[kRun];
    unpack(values, packed[i]);
    if (call.branch != nullptr) {
      float addend[kRun];
      unpack(addend, other[i]);
#pragma unroll
      for (int e = 0; e < kRun; ++e) values[e] += addend[e];
      packed[i] = pack(values);
      store_words(sum + column, packed[i]);
      unpack(values, packed[i]);
    }
    keep_run(record, row + column, packed[i]);
#pragma unroll
    for (int e = 0; e < kRun; ++e) squares += values[e] * values[e];
  });
  uint4 weights[kRuns];  // come while the sum is made
  for_runs(call.width, [&](int i, std::int64_t column) { weights[i] = load_bits(weight + column); });
  const float rstd = 1.0F / sqrtf(block_sum(squares, scratch()) / static_cast<float>(call.width) + call.epsilon);
  if (threadIdx.x == 0) {
    call.rstd[blockIdx.x] = rstd;
    if (!std::is_same_v<Record, NoRecord> && rstd_record.base != nullptr) *rstd_record.at(blockIdx.x) = rstd;
  }
  auto* y = reinterpret_cast<std::uint16_t*>(call.y) + row;
  for_runs(call.width, [&](int i, std::int64_t column) { store_scaled(y + column, packed[i], weights[i], rstd); });
}

__global__ void __launch_bounds__(kMostThreads) norm_rebuild(RmsNormRebuild<BFloat16> call) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * call.width;
  const float rstd = call.rstd[blockIdx.x];
  uint4 x[kRuns], weights[kRuns];
  for_runs(call.width, [&](int i, std::int64_t column) {
    x[i] = load_bits(reinterpret_cast<const std::uint16_t*>(call.x) + row + column);
    weights[i] = load_bits(reinterpret_cast<const std::uint16_t*>(call.weight) + column);
  });
  auto* y = reinterpret_cast<std::uint16_t*>(call.y) + row;
  for_runs(call.width, [&](int i, std::int64_t column) { store_scaled(y + column, x[i], weights[i], rstd); });
}

// This thread's part of what a row of the backward reads.
template <int kCount>
struct BackwardRow {
  uint4 x[kCount], d_y[kCount], past[kCount];
  float rstd;

  __device__ __forceinline__ void load(const RmsNormBackward<BFloat16>& call, std::int64_t token) {
    const std::int64_t row = token * call.width;
    rstd = call.rstd[token];
    for_runs<kCount>(call.width, [&](int i, std::int64_t column) {
      x[i] = load_bits(reinterpret_cast<const std::uint16_t*>(call.x) + row + column);
      d_y[i] = load_bits(reinterpret_cast<const std::uint16_t*>(call.d_y) + row + column);
      past[i] = load_bits(reinterpret_cast<const std::uint16_t*>(call.d_x) + row + column);
    });
  }
};

// Block b does the rows b, b + blocks, ... and, if asked, leaves its sum of d_weight in row b of `partial`. With few
// runs a row comes while the one before it is computed.
template <bool kTrainWeight, int kCount>
__global__ void __launch_bounds__(kMostThreads) norm_backward(RmsNormBackward<BFloat16> call, float* partial) {
  constexpr bool kAhead = kCount == kRunsOfTwoRows;
  BackwardRow<kCount> row, next;
  uint4 weights[kCount];
  const auto load_weights = [&] {
    for_runs<kCount>(call.width, [&](int i, std::int64_t column) {
      weights[i] = load_bits(reinterpret_cast<const std::uint16_t*>(call.weight) + column);
    });
  };
  if constexpr (kAhead) {
    next.load(call, blockIdx.x);
    load_weights();
  }
  float weight_sums[kTrainWeight ? kCount : 1][kRun] = {};
  for (std::int64_t token = blockIdx.x; token < call.tokens; token += gridDim.x) {
    if constexpr (kAhead) {
      row = next;
      if (token + gridDim.x < call.tokens) next.load(call, token + gridDim.x);
    } else {
      row.load(call, token);
      load_weights();
    }
    float dot = 0.0F;
    for_runs<kCount>(call.width, [&](int i, std::int64_t) {
      float a[kRun], g[kRun], w[kRun];
      unpack(a, row.x[i]);
      unpack(g, row.d_y[i]);
      unpack(w, weights[i]);
#pragma unroll
      for (int e = 0; e < kRun; ++e) {
        dot += w[e] * g[e] * a[e];
        if constexpr (kTrainWeight) weight_sums[i][e] += g[e] * a[e] * row.rstd;
      }
    });
    const float mean = block_sum(dot, scratch()) / static_cast<float>(call.width) * row.rstd * row.rstd;
    auto* d_x = reinterpret_cast<std::uint16_t*>(call.d_x) + token * call.width;
    for_runs<kCount>(call.width, [&](int i, std::int64_t column) {
      float a[kRun], g[kRun], w[kRun], sum[kRun];
      unpack(a, row.x[i]);
      unpack(g, row.d_y[i]);
      unpack(sum, row.past[i]);
      unpack(w, weights[i]);
#pragma unroll
      for (int e = 0; e < kRun; ++e) sum[e] += row.rstd * (w[e] * g[e] - a[e] * mean);
      store_run(d_x + column, sum);
    });
  }
  if constexpr (kTrainWeight)
    for_runs<kCount>(call.width, [&](int i, std::int64_t column) {
      store_run(partial + blockIdx.x * call.width + column, weight_sums[i]);
    });
}

}  // namespace

void rms_norm_forward(const RmsNormForward<BFloat16>& call, Stream stream) {
  check(call.record.base != nullptr || call.rstd_record.base == nullptr, "norm: rstd is kept beside what is normed");
  PagedUnits<float> rstd_record{};
  if (call.rstd_record.base != nullptr)
    rstd_record = paged_units<float>(call.rstd_record, call.tokens * static_cast<std::int64_t>(sizeof(float)));
  with_record(call.record, call.tokens * call.width, [&](auto record) {
    launch(norm_forward<decltype(record)>, dim3(static_cast<unsigned>(call.tokens)), dim3(threads_for(call.width)),
           kScratchBytes, stream, call, record, rstd_record);
  });
}

void rms_norm_rebuild(const RmsNormRebuild<BFloat16>& call, Stream stream) {
  launch(norm_rebuild, dim3(static_cast<unsigned>(call.tokens)), dim3(threads_for(call.width)), 0, stream, call);
}

void rms_norm_backward(const RmsNormBackward<BFloat16>& call, void* workspace, Stream stream) {
  if (call.d_weight == nullptr) {
    launch(norm_backward<false, kRuns>, dim3(static_cast<unsigned>(std::min(call.tokens, kBlocksWithoutPartials))),
           dim3(threads_for(call.width)), kScratchBytes, stream, call, nullptr);
    return;
  }
  auto* partial = static_cast<float*>(workspace);
  const std::int64_t rows = std::min(call.tokens, kPartialRows);
  const bool two_rows = call.width <= std::int64_t{kMostThreads} * kRunsOfTwoRows * kRun;
  launch(two_rows ? norm_backward<true, kRunsOfTwoRows> : norm_backward<true, kRuns>, dim3(static_cast<unsigned>(rows)),
         dim3(threads_for(call.width, two_rows ? kRunsOfTwoRows : kRuns)), kScratchBytes, stream, call, partial);
  launch_add_columns(partial, rows, call.width, call.d_weight, stream);
}

std::int64_t rms_norm_backward_workspace(std::int64_t tokens, std::int64_t width) {
  return std::min(tokens, kPartialRows) * width * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace alchemist::cuda

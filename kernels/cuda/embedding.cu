#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/embedding.h"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 128;

__device__ std::int64_t column_of_thread() {
  return (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * kRun;
}

__global__ void gather_rows(const std::int32_t* tokens, const std::uint16_t* table, std::uint16_t* out,
                            std::int64_t hidden) {
  const std::int64_t column = column_of_thread();
  if (column >= hidden) return;
  *reinterpret_cast<uint4*>(out + blockIdx.x * hidden + column) =
      load_bits(table + tokens[blockIdx.x] * hidden + column);
}

// The block of a token's first occurrence adds all its gradients, in order; the others have nothing to do. Its threads
// look for the token together.
__global__ void scatter_rows(const std::int32_t* tokens, const std::uint16_t* d_out, float* d_table, std::int64_t count,
                             std::int64_t hidden) {
  const std::int64_t first = blockIdx.x, column = column_of_thread();
  const std::int32_t token = tokens[first];
  auto* scratch = reinterpret_cast<float*>(shared_memory());
  const auto occurs = [&](std::int64_t begin, std::int64_t end) {
    float found = 0.0F;
    for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) found += tokens[i] == token ? 1.0F : 0.0F;
    return block_sum(found, scratch) > 0.0F;
  };
  if (occurs(0, first)) return;
  const bool has_columns = column < hidden;  // who has none helps to look
  float* row = d_table + token * hidden + column;
  float sum[kRun], addend[kRun];
  if (has_columns) load_run(sum, row);
  for (std::int64_t begin = first; begin < count; begin += kThreads) {
    const std::int64_t end = min(begin + kThreads, count);
    if (!occurs(begin, end) || !has_columns) continue;
    for (std::int64_t i = begin; i < end; ++i) {
      if (tokens[i] != token) continue;
      load_run(addend, d_out + i * hidden + column);
#pragma unroll
      for (int e = 0; e < kRun; ++e) sum[e] += addend[e];
    }
  }
  if (has_columns) store_run(row, sum);
}

dim3 grid_of(std::int64_t count, std::int64_t hidden) {
  check_runs(hidden, "embedding: a width of whole runs");
  return dim3(static_cast<unsigned>(count), blocks_for(hidden / kRun, kThreads));
}

}  // namespace

void embedding_forward(const EmbeddingForward<BFloat16>& call, Stream stream) {
  launch(gather_rows, grid_of(call.count, call.hidden), dim3(kThreads), 0, stream, call.tokens, bits(call.table),
         bits(call.out), call.hidden);
}

void embedding_backward(const EmbeddingBackward<BFloat16>& call, Stream stream) {
  launch(scatter_rows, grid_of(call.count, call.hidden), dim3(kThreads), kThreads / 32 * sizeof(float), stream,
         call.tokens, bits(call.d_out), call.d_table, call.count, call.hidden);
}

}  // namespace alchemist::cuda

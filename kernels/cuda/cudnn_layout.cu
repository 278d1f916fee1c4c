#include "kernels/cuda/cudnn_layout.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 128;

__global__ void write_layout(AttentionShape shape, RowStrides strides, CudnnLayout layout) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i > shape.sequences) return;
  // The entry behind the last sequence is where that one ends.
  const bool end = i == shape.sequences;
  const AttentionRows rows = shape.rows[end ? i - 1 : i];
  const std::int64_t query = rows.query_begin + (end ? rows.queries : 0);
  const std::int64_t key = rows.key_begin + (end ? rows.keys : 0);
  layout.q[i] = query * strides.q;
  layout.kv[i] = key * strides.kv;
  layout.out[i] = query * shape.heads * shape.head_dim;
  layout.lse[i] = query * shape.heads;
  layout.d_q[i] = query * strides.d_q;
  layout.d_kv[i] = i * shape.max_keys * shape.kv_heads * shape.head_dim;
  if (end) return;
  layout.queries[i] = rows.queries;
  layout.keys[i] = rows.keys;
}

__global__ void add_rows(AttentionShape shape, const std::uint16_t* compact, float* d) {
  const AttentionRows rows = shape.rows[blockIdx.y];
  const std::int64_t width = static_cast<std::int64_t>(shape.kv_heads) * shape.head_dim;
  const std::int64_t element = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kRun;
  if (element >= rows.keys * width) return;
  float added[kRun], sum[kRun];
  load_run(added, compact + static_cast<std::int64_t>(blockIdx.y) * shape.max_keys * width + element);
  float* to = d + rows.key_begin * width + element;
  load_run(sum, to);
#pragma unroll
  for (int e = 0; e < kRun; ++e) sum[e] += added[e];
  store_run(to, sum);
}

}  // namespace

std::int64_t CudnnLayout::bytes(std::int32_t sequences) {
  return 6 * (std::int64_t{sequences} + 1) * static_cast<std::int64_t>(sizeof(std::int64_t)) +
         2 * std::int64_t{sequences} * static_cast<std::int64_t>(sizeof(std::int32_t));
}

CudnnLayout::CudnnLayout(void* memory, std::int32_t sequences) {
  auto* next = static_cast<std::int64_t*>(memory);
  for (std::int64_t** array : {&q, &kv, &out, &lse, &d_q, &d_kv}) {
    *array = next;
    next += sequences + 1;
  }
  queries = reinterpret_cast<std::int32_t*>(next);
  keys = queries + sequences;
}

void lay_out(const AttentionShape& shape, const RowStrides& strides, const CudnnLayout& layout, Stream stream) {
  if (shape.sequences == 0) return;
  launch(write_layout, dim3(blocks_for(shape.sequences + 1, kThreads)), dim3(kThreads), 0, stream, shape, strides,
         layout);
}

void add_compact(const AttentionShape& shape, const BFloat16* compact, float* d, Stream stream) {
  check_runs(shape.head_dim, "attention: heads of whole runs");
  const std::int64_t runs = static_cast<std::int64_t>(shape.max_keys) * shape.kv_heads * shape.head_dim / kRun;
  launch(add_rows, dim3(blocks_for(runs, kThreads), static_cast<unsigned>(shape.sequences)), dim3(kThreads), 0, stream,
         shape, bits(compact), d);
}

}  // namespace alchemist::cuda

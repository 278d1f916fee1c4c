#include "kernels/attention.h"
#include "kernels/cuda/attention_backward.cuh"
#include "kernels/cuda/dispatch.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kDeltaThreads = 256;

// delta of each row and head: one group of lanes each, eight elements a lane.
template <int kDim>
__global__ void output_delta(const std::uint16_t* out, const std::uint16_t* d_out, const AttentionRows* sequences,
                             int heads, float* delta) {
  constexpr int kLanes = kDim / kRun;
  const AttentionRows rows = sequences[blockIdx.y];
  const std::int64_t pair = global_thread() / kLanes;  // row and head within the sequence
  const bool valid = pair < static_cast<std::int64_t>(rows.queries) * heads;
  const std::int64_t at = static_cast<std::int64_t>(rows.query_begin) * heads + (valid ? pair : 0);
  const std::int64_t element = at * kDim + threadIdx.x % kLanes * kRun;
  float a[kRun], b[kRun];
  load_run(a, out + element);
  load_run(b, d_out + element);
  float sum = 0.0F;
#pragma unroll
  for (int i = 0; i < kRun; ++i) sum += a[i] * b[i];
  sum = lane_sum<kLanes>(sum);
  if (valid && threadIdx.x % kLanes == 0) delta[at] = sum;
}

template <int kDim>
__device__ BackwardRows rows_of_head(const AttentionBackward<BFloat16>& call, const AttentionRows& rows,
                                     std::int64_t head, float scale) {
  const AttentionShape& shape = call.shape;
  const std::int64_t kv_offset = rows.key_begin * call.kv_stride + head / (shape.heads / shape.kv_heads) * kDim;
  const std::int64_t out_stride = static_cast<std::int64_t>(shape.heads) * kDim;
  const std::int64_t scalar = static_cast<std::int64_t>(rows.query_begin) * shape.heads + head;
  const auto at = [](const BFloat16* p, std::int64_t offset, std::int64_t stride) {
    return HeadRows{reinterpret_cast<const std::uint16_t*>(p) + offset, stride};
  };
  return {at(call.q, rows.query_begin * call.q_stride + head * kDim, call.q_stride),
          at(call.k, kv_offset, call.kv_stride),
          at(call.v, kv_offset, call.kv_stride),
          at(call.d_out, rows.query_begin * out_stride + head * kDim, out_stride),
          call.lse + scalar,
          call.delta + scalar,
          shape.heads,
          scale,
          rows.queries,
          rows.keys};
}

template <int kDim>
__global__ void __launch_bounds__(kTileThreads, 2) attention_d_q(AttentionBackward<BFloat16> call, float scale) {
  const AttentionRows rows = call.shape.rows[blockIdx.z];
  const int first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * kTileRows;
  if (first >= rows.queries) return;
  auto* d_q = reinterpret_cast<std::uint16_t*>(call.d_q) + rows.query_begin * call.d_q_stride + blockIdx.x * kDim;
  query_gradient<kDim>(rows_of_head<kDim>(call, rows, blockIdx.x, scale), first, d_q, call.d_q_stride);
}

template <int kDim>
__global__ void __launch_bounds__(kTileThreads, 2) attention_d_k_d_v(AttentionBackward<BFloat16> call, float scale) {
  const AttentionShape& shape = call.shape;
  const AttentionRows rows = shape.rows[blockIdx.z];
  const int first = static_cast<int>(blockIdx.y) * kTileRows;
  if (first >= rows.keys) return;
  const int group = shape.heads / shape.kv_heads;
  const std::int64_t stride = static_cast<std::int64_t>(shape.kv_heads) * kDim;
  const std::int64_t offset = rows.key_begin * stride + blockIdx.x * kDim;
  const auto rows_of = [&](int head) { return rows_of_head<kDim>(call, rows, blockIdx.x * group + head, scale); };
  key_gradient<kDim>(rows_of, group, first, call.d_k + offset, call.d_v + offset, stride);
}

}  // namespace

void attention_backward(const AttentionBackward<BFloat16>& call, Stream stream) {
  check_runs(call.q_stride | call.kv_stride | call.d_q_stride, "attention: strides of whole runs");
  const AttentionShape& shape = call.shape;
  const auto sequences = static_cast<unsigned>(shape.sequences);
  with_head_dim(shape.head_dim, [&](auto dim) {
    const std::int64_t threads = static_cast<std::int64_t>(shape.max_queries) * shape.heads * (dim / kRun);
    launch(output_delta<dim>, dim3(blocks_for(threads, kDeltaThreads), sequences), dim3(kDeltaThreads), 0, stream,
           bits(call.out), bits(call.d_out), shape.rows, shape.heads, call.delta);
    const float scale = attention_scale(dim);
    launch(attention_d_k_d_v<dim>,
           dim3(static_cast<unsigned>(shape.kv_heads), blocks_for(shape.max_keys, kTileRows), sequences),
           dim3(kTileThreads), kBackwardSharedBytes<dim>, stream, call, scale);
    launch(attention_d_q<dim>,
           dim3(static_cast<unsigned>(shape.heads), blocks_for(shape.max_queries, kTileRows), sequences),
           dim3(kTileThreads), kBackwardSharedBytes<dim>, stream, call, scale);
  });
}

}  // namespace alchemist::cuda

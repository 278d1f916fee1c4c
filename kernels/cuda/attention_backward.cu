#include "kernels/attention.h"
#include "kernels/cuda/attention_backward.cuh"
#include "kernels/cuda/dispatch.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/output_delta.h"
#include "kernels/cuda/packed_rows.cuh"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kDeltaThreads = 256;

// delta of each row and head: one group of lanes each, eight elements a lane.
template <int kDim>
__global__ void delta_of_rows(const std::uint16_t* out, const std::uint16_t* d_out, const AttentionRows* sequences,
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
__global__ void __launch_bounds__(kTileThreads, 2) attention_d_q(AttentionBackward<BFloat16> call, float scale) {
  const AttentionRows rows = call.shape.rows[blockIdx.z];
  const int first = first_query_of_block(kTileRows);
  if (first >= rows.queries) return;
  query_gradient<kDim>(rows_of_head<kDim>(call, rows, blockIdx.x, scale), first,
                       d_q_of_head<kDim>(call, rows, blockIdx.x), call.d_q_stride);
}

template <int kDim>
__global__ void __launch_bounds__(kTileThreads, 2) attention_d_k_d_v(AttentionBackward<BFloat16> call, float scale) {
  const AttentionShape& shape = call.shape;
  const AttentionRows rows = shape.rows[blockIdx.z];
  const int first = static_cast<int>(blockIdx.y) * kTileRows;
  if (first >= rows.keys) return;
  const int group = shape.heads / shape.kv_heads;
  const auto rows_of = [&](int head) { return rows_of_head<kDim>(call, rows, blockIdx.x * group + head, scale); };
  key_gradient<kDim>(rows_of, group, first,
                     [&] { return key_gradients_of<kDim>(call, shape.rows[blockIdx.z], blockIdx.x); });
}

}  // namespace

void output_delta(const AttentionBackward<BFloat16>& call, Stream stream) {
  const AttentionShape& shape = call.shape;
  with_head_dim(shape.head_dim, [&](auto dim) {
    const std::int64_t threads = static_cast<std::int64_t>(shape.max_queries) * shape.heads * (dim / kRun);
    launch(delta_of_rows<dim>, dim3(blocks_for(threads, kDeltaThreads), static_cast<unsigned>(shape.sequences)),
           dim3(kDeltaThreads), 0, stream, bits(call.out), bits(call.d_out), shape.rows, shape.heads, call.delta);
  });
}

void attention_backward(const AttentionBackward<BFloat16>& call, Stream stream) {
  check_runs(call.q_stride | call.kv_stride | call.d_q_stride, "attention: strides of whole runs");
  const AttentionShape& shape = call.shape;
  output_delta(call, stream);
  with_head_dim(shape.head_dim, [&](auto dim) {
    const float scale = attention_scale(dim);
    launch(attention_d_k_d_v<dim>, packed_grid(shape.kv_heads, shape.max_keys, kTileRows, shape.sequences),
           dim3(kTileThreads), kBackwardSharedBytes<dim>, stream, call, scale);
    launch(attention_d_q<dim>, packed_grid(shape.heads, shape.max_queries, kTileRows, shape.sequences),
           dim3(kTileThreads), kBackwardSharedBytes<dim>, stream, call, scale);
  });
}

}  // namespace alchemist::cuda

#include "kernels/attention.h"
#include "kernels/cuda/attention_forward.cuh"
#include "kernels/cuda/dispatch.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

template <int kDim, int kTiles>
__global__ void __launch_bounds__(kTileThreads, 2) packed_attention(AttentionForward<BFloat16> call, float scale) {
  const AttentionShape& shape = call.shape;
  const AttentionRows rows = shape.rows[blockIdx.z];
  const int first = first_query_of_block<kTiles>();
  if (first >= rows.queries) return;
  const std::int64_t head = blockIdx.x;
  const std::int64_t kv_offset = rows.key_begin * call.kv_stride + head / (shape.heads / shape.kv_heads) * kDim;
  const auto* q = reinterpret_cast<const std::uint16_t*>(call.q) + rows.query_begin * call.q_stride + head * kDim;
  const ForwardTile at{first, rows.queries, rows.keys - rows.queries};
  attend<kDim, kTiles>(
      HeadRows{q, call.q_stride}, HeadRows{reinterpret_cast<const std::uint16_t*>(call.k) + kv_offset, call.kv_stride},
      HeadRows{reinterpret_cast<const std::uint16_t*>(call.v) + kv_offset, call.kv_stride}, at, scale,
      [&](Tile<kDim> tile, int warp_row, auto& softmax, auto& sums) {
        store_output(at, output_of<kDim>(call.out, call.lse, shape.rows[blockIdx.z].query_begin, shape.heads), tile,
                     warp_row, softmax, sums);
      });
}

}  // namespace

void attention_forward(const AttentionForward<BFloat16>& call, Stream stream) {
  check_runs(call.q_stride | call.kv_stride, "attention: strides of whole runs");
  const AttentionShape& shape = call.shape;
  with_head_dim(shape.head_dim, [&](auto dim) {
    constexpr int kDim = dim;
    with_row_tiles<kDim>(shape.heads, shape.max_queries, shape.sequences, [&](auto tiles, dim3 grid) {
      launch(packed_attention<kDim, tiles>, grid, dim3(kTileThreads), kForwardSharedBytes<kDim, tiles>, stream, call,
             attention_scale(kDim));
    });
  });
}

}  // namespace alchemist::cuda

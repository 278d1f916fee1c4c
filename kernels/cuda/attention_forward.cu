#include "kernels/attention.h"
#include "kernels/cuda/attention_forward.cuh"
#include "kernels/cuda/dispatch.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed_rows.cuh"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

template <int kDim, int kTiles>
__global__ void __launch_bounds__(kTileThreads, 2) packed_attention(AttentionForward<BFloat16> call, float scale) {
  attend_packed<kDim>(call, first_query_of_block(kForwardQueries<kTiles>),
                      [&](const auto& query, const auto& key, const auto& value, const auto& at, const auto& store) {
                        attend<kDim, kTiles>(query, key, value, at, scale, store);
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

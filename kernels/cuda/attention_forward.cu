#include <type_traits>

#include "kernels/attention.h"
#include "kernels/cuda/attention_forward.cuh"
#include "kernels/cuda/dispatch.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/prefill_attention.h"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

// Blocks are launched heads first, so that the heads that share keys and values run together, and the last tiles, which
// see most keys, before the first ones.
template <int kTiles>
__device__ int first_query_of_block() {
  return static_cast<int>(gridDim.y - 1 - blockIdx.y) * kForwardQueries<kTiles>;
}

template <int kDim>
__device__ ForwardOutput output_of(BFloat16* out, float* lse, std::int64_t query_begin, int heads) {
  const std::int64_t scalar = query_begin * heads + blockIdx.x;
  return {reinterpret_cast<std::uint16_t*>(out) + scalar * kDim, static_cast<std::int64_t>(heads) * kDim,
          lse == nullptr ? nullptr : lse + scalar, heads};
}

template <int kDim, int kTiles>
__global__ void __launch_bounds__(kTileThreads, 2) packed_attention(AttentionForward<BFloat16> call, float scale) {
  const AttentionShape& shape = call.shape;
  const AttentionRows rows = shape.rows[blockIdx.z];
  const int first = first_query_of_block<kTiles>();
  if (first >= rows.queries) return;
  const std::int64_t head = blockIdx.x;
  const std::int64_t kv_offset = rows.key_begin * call.kv_stride + head / (shape.heads / shape.kv_heads) * kDim;
  const auto* q = reinterpret_cast<const std::uint16_t*>(call.q) + rows.query_begin * call.q_stride + head * kDim;
  attend<kDim, kTiles>(
      HeadRows{q, call.q_stride}, HeadRows{reinterpret_cast<const std::uint16_t*>(call.k) + kv_offset, call.kv_stride},
      HeadRows{reinterpret_cast<const std::uint16_t*>(call.v) + kv_offset, call.kv_stride},
      ForwardTile{first, rows.queries, rows.keys - rows.queries}, scale,
      [&] { return output_of<kDim>(call.out, call.lse, shape.rows[blockIdx.z].query_begin, shape.heads); });
}

template <int kDim, int kTiles>
__global__ void __launch_bounds__(kTileThreads, 2) paged_prefill(PagedAttention<BFloat16> call, float scale) {
  const PagedRows rows = call.rows[blockIdx.z];
  const int first = first_query_of_block<kTiles>();
  if (first >= rows.queries) return;
  const std::int64_t head = blockIdx.x;
  const std::int64_t kv_offset = head / (call.heads / call.kv_heads) * kDim;
  const std::int64_t kv_stride = static_cast<std::int64_t>(call.kv_heads) * kDim;
  const auto cache = [&](const BFloat16* layer) {
    return PagedHeadRows{reinterpret_cast<const std::uint16_t*>(layer) + kv_offset,
                         call.block_tables + rows.table_begin, kv_stride, call.block_stride, call.block_size};
  };
  const auto* q = reinterpret_cast<const std::uint16_t*>(call.q) + rows.query_begin * call.q_stride + head * kDim;
  attend<kDim, kTiles>(HeadRows{q, call.q_stride}, cache(call.k_cache), cache(call.v_cache),
                       ForwardTile{first, rows.queries, rows.keys - rows.queries}, scale, [&] {
                         return output_of<kDim>(call.out, call.lse, call.rows[blockIdx.z].query_begin, call.heads);
                       });
}

// Calls body(std::integral_constant<int, kTiles>, grid). Two tiles a warp halve its reads of keys and values; one makes
// twice the blocks, where few would leave multiprocessors idle. Rows come out the same to the bit.
template <int kDim, typename Body>
void with_row_tiles(int heads, int max_queries, int sequences, const Body& body) {
  constexpr std::int64_t kWantedBlocks = 256;  // nearly two for each multiprocessor of the largest GPUs
  const auto grid = [&](auto tiles) {
    return dim3(static_cast<unsigned>(heads), blocks_for(max_queries, kForwardQueries<tiles>),
                static_cast<unsigned>(sequences));
  };
  constexpr std::integral_constant<int, 1> one{};
  constexpr std::integral_constant<int, 2> two{};
  if constexpr (kDim == 128) {
    const std::int64_t blocks = std::int64_t{blocks_for(max_queries, kForwardQueries<2>)} * heads * sequences;
    if (blocks >= kWantedBlocks) return body(two, grid(two));
  }
  body(one, grid(one));
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

void prefill_attention(const PagedAttention<BFloat16>& call, Stream stream) {
  check_runs(call.q_stride | call.block_stride, "attention: strides of whole runs");
  with_head_dim(call.head_dim, [&](auto dim) {
    constexpr int kDim = dim;
    with_row_tiles<kDim>(call.heads, call.max_queries, call.sequences, [&](auto tiles, dim3 grid) {
      launch(paged_prefill<kDim, tiles>, grid, dim3(kTileThreads), kForwardSharedBytes<kDim, tiles>, stream, call,
             attention_scale(kDim));
    });
  });
}

}  // namespace alchemist::cuda

// Attention of chunks of prompts over their own and earlier keys in pages. A short chunk behind a long context, as a
// turn of a conversation is, has its keys split over blocks.
#include <algorithm>

#include "kernels/cuda/attention_parts.cuh"
#include "kernels/cuda/dispatch.cuh"
#include "kernels/cuda/paged_attention.h"
#include "kernels/cuda/paged_rows.cuh"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kMostSplits = 32;
constexpr int kFewestKeys = 256;  // of a split

// Block: head x, query tile y, split z % splits of sequence z / splits.
template <int kDim, int kTiles, bool kSplit>
__global__ void __launch_bounds__(kTileThreads, 2)
    paged_prefill(PagedAttention<BFloat16> call, float scale, int splits, float* parts) {
  const int sequence = static_cast<int>(blockIdx.z) / (kSplit ? splits : 1);
  const int first = first_query_of_block(kForwardQueries<kTiles>);
  attend_paged<kDim>(call, sequence, first, [&](const auto& query, const auto& key, const auto& value, ForwardTile at) {
    if constexpr (kSplit) {
      const int tiles = (call.rows[sequence].keys + kTileRows - 1) / kTileRows;
      const int split_keys = (tiles + splits - 1) / splits * kTileRows;
      at.key_begin = static_cast<int>(blockIdx.z) % splits * split_keys;
      at.key_end = at.key_begin + split_keys;
    }
    attend<kDim, kTiles>(query, key, value, at, scale, [&](auto tile, int warp_row, auto& softmax, auto& sums) {
      if constexpr (kSplit) {
        wait_copies<0>();  // without keys nobody has
        const std::int64_t row = static_cast<std::int64_t>(blockIdx.z) * call.max_queries;
        store_parts(parts + (row * call.heads + blockIdx.x) * kPartFloats<kDim>,
                    static_cast<std::int64_t>(call.heads) * kPartFloats<kDim>, first + warp_row, at.queries, softmax,
                    sums[0]);
      } else {
        store_output(at, paged_output<kDim>(call), tile, warp_row, softmax, sums);
      }
    });
  });
}

std::int64_t blocks_of(const PagedAttention<BFloat16>& call) {
  return std::int64_t{blocks_for(call.max_queries, kForwardQueries<1>)} * call.heads * call.sequences;
}

}  // namespace

int prefill_splits(const PagedAttention<BFloat16>& call) {
  const std::int64_t wanted = std::clamp<std::int64_t>(kWantedForwardBlocks / blocks_of(call), 1, kMostSplits);
  return static_cast<int>(std::clamp<std::int64_t>((call.max_keys + kFewestKeys - 1) / kFewestKeys, 1, wanted));
}

std::int64_t prefill_parts() { return kWantedForwardBlocks * kForwardQueries<1>; }

void prefill_attention(const PagedAttention<BFloat16>& call, int splits, float* parts, Stream stream) {
  with_head_dim(call.head_dim, [&](auto dim) {
    constexpr int kDim = dim;
    with_row_tiles<kDim>(call.heads, call.max_queries, call.sequences, [&](auto tiles, dim3 grid) {
      const auto start = [&](auto kernel) {
        launch(kernel, grid, dim3(kTileThreads), kForwardSharedBytes<kDim, tiles>, stream, call, attention_scale(kDim),
               splits, parts);
      };
      if constexpr (tiles == 1) {  // more would have blocks enough
        grid.z *= static_cast<unsigned>(splits);
        if (splits > 1) return start(paged_prefill<kDim, 1, true>);
      }
      start(paged_prefill<kDim, tiles, false>);
    });
  });
}

}  // namespace alchemist::cuda

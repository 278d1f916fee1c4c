// The forward of attention_forward.cuh by warpgroups, in the way of FlashAttention-3 (Shah et al. 2024) but without
// warps for copies alone: the product of the next keys with the queries runs while the softmax of the keys before is
// computed, and copies are a round ahead. 160 KiB of shared memory for heads of 128.
#pragma once

#include "kernels/cuda/attention_forward.cuh"
#include "kernels/cuda/hopper_tile.cuh"

namespace alchemist::cuda {

// Queries, and two tiles each of keys and values that alternate.
template <int kDim>
inline constexpr std::size_t kHopperForwardBytes = std::size_t{5} * kHopperRows* kDim * sizeof(std::uint16_t);

// As attend(), of 128 queries; at.key_begin is a multiple of 64 as there. Rows come out the same to the bit wherever
// their tile begins.
template <int kDim, typename KeyRows, typename Store>
__device__ void attend_by_warpgroups(const HeadRows& query, const KeyRows& key, const KeyRows& value, ForwardTile at,
                                     float scale, const Store& store) {
  constexpr int kKeys = kHopperRows;
  using SomeTile = SlabTile<kDim, kHopperRows>;
  std::uint16_t* memory = tile_memory();
  const auto tile = [&](int index) { return SomeTile{memory + index * SomeTile::kElements}; };
  const SomeTile query_tile = tile(0);
  const auto key_tile = [&](int round) { return tile(1 + round % 2); };
  const auto value_tile = [&](int round) { return tile(3 + round % 2); };
  const int group_row = same_in_warp(static_cast<int>(threadIdx.x) / kWarpgroupThreads) * kGroupRows;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const int keys = min(at.context + min(at.first + kHopperRows, at.queries), at.key_end);  // of the tile's last row
  const int rounds = (keys - at.key_begin + kKeys - 1) / kKeys;
  const int diagonal = at.context + at.first + warp_row + static_cast<int>(threadIdx.x) % 32 / 4;

  float scores[1][kKeys / 8][4], sums[1][kDim / 8][4];
  std::uint32_t weights[kKeys / 16][4];
  OnlineSoftmax<kDim, 1> softmax;
  set_zero(sums);
  const auto load_keys = [&](int round) {
    load_rows<kKeys, kHopperThreads>(key_tile(round), key, at.key_begin + round * kKeys, keys);
  };
  const auto load_values = [&](int round) {
    load_rows<kKeys, kHopperThreads>(value_tile(round), value, at.key_begin + round * kKeys, keys);
  };
  const auto mask = [&](int round) {
    const int begin = at.key_begin + round * kKeys;
    if (begin + kKeys > at.context + at.first + warp_row) mask_scores(scores, diagonal - begin);
  };

  load_rows<kHopperRows, kHopperThreads>(query_tile, query, at.first, at.queries);
  load_keys(0);
  commit_copies();
  wait_for_tiles<0>();
  fence_registers();
  start_transposed(scores[0], query_tile, group_row, key_tile(0));
  commit_products();
  load_values(0);
  if (rounds > 1) load_keys(1);
  commit_copies();
  wait_products<0>(scores[0]);
  mask(0);
  float shrink[2];
  const auto weigh = [&] {
#pragma unroll
    for (int half = 0; half < 2; ++half) shrink[half] = softmax.weigh_row(scores[0], 0, half, scale * kLog2E);
  };
  weigh();
  as_left(weights, scores[0]);

  for (int round = 1; round < rounds; ++round) {
    wait_for_tiles<0>();  // this round's keys, the values before; keys and values before those are read no more
    fence_registers(weights, sums[0]);
    start_transposed(scores[0], query_tile, group_row, key_tile(round));
    commit_products();
    start_weighted(sums[0], weights, value_tile(round - 1));
    commit_products();
    load_values(round);
    if (round + 1 < rounds) load_keys(round + 1);
    commit_copies();
    wait_products<1>(scores[0]);
    mask(round);
    weigh();
    compute_before_wait(softmax.sum[0][0] + softmax.sum[0][1] < 0.0F);
    wait_products<0>(sums[0]);
#pragma unroll
    for (int half = 0; half < 2; ++half) softmax.rescale_row(sums[0], half, shrink[half]);
    as_left(weights, scores[0]);
  }
  wait_for_tiles<0>();
  fence_registers(weights, sums[0]);
  start_weighted(sums[0], weights, value_tile(rounds - 1));
  commit_products();
  wait_products<0>(sums[0]);
  store(query_tile, warp_row, softmax, sums);
}

}  // namespace alchemist::cuda

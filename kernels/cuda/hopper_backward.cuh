// The gradients of attention_backward.cuh by warpgroups: the same two kernels, which add nothing atomically. Scores are
// computed transposed where keys are owned, so that the left operands of the products behind the softmax come from
// registers in both kernels and nothing but copies writes to shared memory. The last products of a round run on while
// the next round begins. 160 and 194 KiB of shared memory for heads of 128.
#pragma once

#include "kernels/cuda/attention_backward.cuh"
#include "kernels/cuda/hopper_tile.cuh"

namespace alchemist::cuda {

// Two tiles of 128 rows that stay, and in each stage two of 64 that pass by.
template <int kDim, int kStages>
struct HopperBackwardTiles {
  using Owned = SlabTile<kDim, kHopperRows>;
  using Passing = SlabTile<kDim, kTileRows>;
  static constexpr std::size_t kBytes =
      (2 * Owned::kElements + kStages * 2 * Passing::kElements) * sizeof(std::uint16_t);

  std::uint16_t* memory = tile_memory();

  __device__ Owned owned(int index) const { return {memory + index * Owned::kElements}; }
  __device__ Passing passing(int round, int index) const {
    return {memory + 2 * Owned::kElements + (round % kStages * 2 + index) * Passing::kElements};
  }
};

// One stage is read, one is being copied, one may still be read by the round before.
template <int kDim>
using QueryGradientTiles = HopperBackwardTiles<kDim, 3>;
// Copies are two rounds ahead here. And log-sum-exp and delta of the queries of each stage.
template <int kDim>
using KeyGradientTiles = HopperBackwardTiles<kDim, 4>;
template <int kDim>
inline constexpr std::size_t kKeyGradientBytes = KeyGradientTiles<kDim>::kBytes + 4 * 2 * kTileRows * sizeof(float);

// grad_query of 128 queries of one head.
template <int kDim>
__device__ void query_gradient_by_warpgroups(const BackwardRows& rows, int first, std::uint16_t* grad_query,
                                             std::int64_t stride) {
  const QueryGradientTiles<kDim> tiles;
  const auto query = tiles.owned(0), grad_output = tiles.owned(1);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int group_row = same_in_warp(static_cast<int>(threadIdx.x) / kWarpgroupThreads) * kGroupRows;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const int keys = min(rows.context() + first + kHopperRows, rows.keys);
  const int rounds = (keys + kTileRows - 1) / kTileRows;
  const int diagonal = rows.context() + first + warp_row;  // the last key that the warp's first row sees

  const auto load_round = [&](int round) {
    load_rows<kTileRows, kHopperThreads>(tiles.passing(round, 0), rows.key, round * kTileRows, keys);
    load_rows<kTileRows, kHopperThreads>(tiles.passing(round, 1), rows.value, round * kTileRows, keys);
  };
  load_rows<kHopperRows, kHopperThreads>(query, rows.query, first, rows.queries);
  load_rows<kHopperRows, kHopperThreads>(grad_output, rows.grad_output, first, rows.queries);
  load_round(0);
  commit_copies();

  const RowScalars of_row(rows, first + warp_row + lane / 4);

  float sums[1][kDim / 8][4], scores[1][8][4], grad_scores[8][4];
  std::uint32_t weights[kTileRows / 16][4];
  set_zero(sums);
  for (int round = 0; round < rounds; ++round) {
    const int begin = round * kTileRows;
    wait_for_tiles<0>();
    fence_registers();
    start_transposed(scores[0], query, group_row, tiles.passing(round, 0));
    commit_products();
    start_transposed(grad_scores, grad_output, group_row, tiles.passing(round, 1));
    commit_products();
    if (round + 1 < rounds) load_round(round + 1);
    commit_copies();
    wait_products<1>(scores[0], sums[0]);
    if (begin + kTileRows > diagonal) mask_scores(scores, diagonal + lane / 4 - begin);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e)
        scores[0][n][e] = exp2_approximate(fmaf(rows.scale * kLog2E, scores[0][n][e], -of_row.log_sum_exp[e / 2]));
    }
    compute_before_wait(any_negative(scores[0]));
    wait_products<0>(grad_scores);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) scores[0][n][e] *= grad_scores[n][e] - of_row.delta[e / 2];
    }
    as_left(weights, scores[0]);
    fence_registers(weights);
    start_weighted(sums[0], weights, tiles.passing(round, 0));
    commit_products();
  }
  wait_products<0>(sums[0]);
  multiply_by(sums, rows.scale);
  // A warpgroup's products read the query's rows of all its warps, which may be in their last round still, and each
  // warp is to write over its own.
  __syncthreads();
  store_rows(sums[0], query, warp_row, grad_query, stride, first + warp_row, rows.queries);
}

// A walk over the tiles of queries that see a tile of keys, for one query head of its key-value head after the other.
// The tile's first key is seen from query `diagonal` on. (QueryRounds divides instead, which takes registers that there
// are not here; the kernel that uses it spills with this.)
struct QueryWalk {
  int queries;
  int first;  // query at which the first tile begins
  int head = 0;
  int begin;  // the tile's first query

  __device__ QueryWalk(int diagonal, int queries_)
      : queries(queries_), first(max(diagonal, 0) / kTileRows * kTileRows), begin(first) {}
  __device__ void step() {
    begin += kTileRows;
    if (begin < queries) return;
    begin = first;
    ++head;
  }
};

// Adds to grad_key and grad_value of 128 keys of one key-value head; `rows(h)` are the rows of its query head h. Where
// a round copies, and in what order it waits, was chosen so that its 192 registers of sums leave enough for the rest.
template <int kDim, typename RowsOfHead, typename Gradients>
__device__ void key_gradient_by_warpgroups(const RowsOfHead& rows, int query_heads, int first,
                                           const Gradients& gradients_of) {
  const KeyGradientTiles<kDim> tiles;
  const auto key = tiles.owned(0), value = tiles.owned(1);
  auto* scalars = reinterpret_cast<float*>(shared_memory() + KeyGradientTiles<kDim>::kBytes);
  const auto scalars_of = [&](int round) { return scalars + round % 4 * 2 * kTileRows; };
  const BackwardRows of_first = rows(0);
  const int queries = of_first.queries;
  const bool carries_scalars = threadIdx.x < 2 * kTileRows;
  const int group_row = same_in_warp(static_cast<int>(threadIdx.x) / kWarpgroupThreads) * kGroupRows;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const int diagonal = first - of_first.context();  // the first query that sees the tile's first key

  QueryScalars next;
  QueryWalk at(diagonal, queries), ahead = at;
  const auto load_round = [&](int round) {
    if (ahead.head < query_heads) {
      const BackwardRows of_head = rows(ahead.head);
      load_rows<kTileRows, kHopperThreads>(tiles.passing(round, 0), of_head.query, ahead.begin, queries);
      load_rows<kTileRows, kHopperThreads>(tiles.passing(round, 1), of_head.grad_output, ahead.begin, queries);
      if (carries_scalars) next.load(of_head, ahead.begin);
      ahead.step();
    }
    commit_copies();
  };
  load_rows<kHopperRows, kHopperThreads>(key, of_first.key, first, of_first.keys);
  load_rows<kHopperRows, kHopperThreads>(value, of_first.value, first, of_first.keys);
  load_round(0);
  if (carries_scalars) next.store(scalars_of(0));
  load_round(1);

  float key_sums[1][kDim / 8][4], value_sums[1][kDim / 8][4], scores[8][4], grad_scores[8][4];
  std::uint32_t weights[kTileRows / 16][4], gradients[kTileRows / 16][4];
  set_zero(key_sums);
  set_zero(value_sums);
  int round = 0;
  do {  // there is a query that sees the first key
    wait_for_tiles<1>();
    fence_registers();
    start_transposed(scores, key, group_row, tiles.passing(round, 0));
    commit_products();
    wait_products<1>(key_sums[0]);
    fence_registers();
    start_transposed(grad_scores, value, group_row, tiles.passing(round, 1));
    commit_products();
    wait_products<1>(scores);
    if (at.begin < diagonal + kHopperRows)
      mask_transposed(scores, diagonal + warp_row + static_cast<int>(threadIdx.x) % 32 / 4 - at.begin);
    transposed_weights(scores, scalars_of(round), of_first.scale);
    as_left(weights, scores);
    compute_before_wait(any_negative(scores));
    wait_products<0>(grad_scores);
    fence_registers(weights);
    start_weighted(value_sums[0], weights, tiles.passing(round, 1));
    commit_products();
    transposed_gradients(grad_scores, scores, scalars_of(round));
    as_left(gradients, grad_scores);
    fence_registers(gradients);
    start_weighted(key_sums[0], gradients, tiles.passing(round, 0));
    commit_products();
    wait_products<1>(value_sums[0]);
    if (carries_scalars) next.store(scalars_of(round + 1));
    load_round(round + 2);
    at.step();
    ++round;
  } while (at.head < query_heads);
  wait_products<0>(key_sums[0]);
  multiply_by(key_sums, of_first.scale);
  store_key_gradients(gradients_of(), key_sums[0], value_sums[0], first + warp_row, of_first.keys);
}

}  // namespace alchemist::cuda

// Causal attention of chunks of several sequences, in the way of FlashAttention-2 (Dao 2023): a block computes the rows
// of one query tile of one head with an online softmax, so that scores never reach device memory. Row i of a chunk sees
// the sequence's keys 0..context + i.
#pragma once

#include <climits>
#include <type_traits>

#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/element.h"

namespace alchemist::cuda {

// A block's four warps own 16 kTiles queries each.
template <int kTiles>
inline constexpr int kForwardQueries = 64 * kTiles;
template <int kDim, int kTiles>
inline constexpr std::size_t kForwardSharedBytes = (kForwardQueries<kTiles> + 2 * kTileRows) * kDim *
                                                   sizeof(std::uint16_t);

// Below every score, but finite: a row that sees no key yet has differences of it too, and they are no NaN.
inline constexpr float kNoScore = -1e30F;

// The running softmax of a warp's rows: maximum and sum of exponentials of scores in units of log2, two rows a lane and
// tile.
template <int kDim, int kTiles>
struct OnlineSoftmax {
  float maximum[kTiles][2];
  float sum[kTiles][2];

  __device__ OnlineSoftmax() {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      maximum[m][0] = maximum[m][1] = kNoScore;
      sum[m][0] = sum[m][1] = 0.0F;
    }
  }

  // Turns a row's scores, of tile m and half, into exp2(scale score - new maximum); what is left of what was summed
  // under the old one.
  template <int kPieces>
  __device__ float weigh_row(float (&scores)[kPieces][4], int m, int half, float scale) {
    float highest = -INFINITY;
#pragma unroll
    for (int n = 0; n < kPieces; ++n) highest = fmaxf(highest, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
    const float top = lane_max<4>(fmaxf(maximum[m][half], scale * highest));  // rounding keeps the order of products
    const float shrink = exp2_approximate(maximum[m][half] - top);
    maximum[m][half] = top;
    sum[m][half] *= shrink;
#pragma unroll
    for (int n = 0; n < kPieces; ++n) {
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        scores[n][e] = exp2_approximate(fmaf(scale, scores[n][e], -top));
        sum[m][half] += scores[n][e];
      }
    }
    return shrink;
  }

  __device__ static void rescale_row(float (&output)[kDim / 8][4], int half, float shrink) {
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      output[n][2 * half] *= shrink;
      output[n][2 * half + 1] *= shrink;
    }
  }

  // Both for all rows.
  template <int kPieces>
  __device__ void add(float (&scores)[kTiles][kPieces][4], float (&output)[kTiles][kDim / 8][4], float scale) {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) rescale_row(output[m], half, weigh_row(scores[m], m, half, scale));
    }
  }

  // Each lane has summed its own columns only; divides the output by the rows' sums.
  __device__ void finish(float (&output)[kTiles][kDim / 8][4]) {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        sum[m][half] = lane_sum<4>(sum[m][half]);
        const float factor = 1.0F / sum[m][half];
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n) {
          output[m][n][2 * half] *= factor;
          output[m][n][2 * half + 1] *= factor;
        }
      }
    }
  }
};

struct ForwardTile {
  int first = 0;    // query of the chunk
  int queries = 0;  // of the chunk
  int context = 0;  // keys before the chunk
  // Of the sequence's keys, those that count here. `key_begin` and, unless it is behind all keys, `key_end` are
  // multiples of kTileRows.
  int key_begin = 0;
  int key_end = INT_MAX;
};

// Where the results of a chunk's first query go, and how far apart those of the next ones are.
struct ForwardOutput {
  std::uint16_t* rows;
  std::int64_t row_stride;
  float* log_sum_exp;  // of the scaled scores; may be null
  std::int64_t log_sum_exp_stride;
};

// A warp's rows of a query tile that has seen all its keys. The tile's own rows are overwritten.
template <int kDim, int kTiles, typename QueryTile>
__device__ void store_output(const ForwardTile& at, const ForwardOutput& to, QueryTile query_tile, int warp_row,
                             OnlineSoftmax<kDim, kTiles>& softmax, float (&sums)[kTiles][kDim / 8][4]) {
  softmax.finish(sums);
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    const int row = warp_row + 16 * m;
    store_rows(sums[m], query_tile, row, to.rows, to.row_stride, at.first + row, at.queries);
    if (to.log_sum_exp == nullptr || threadIdx.x % 4 != 0) continue;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int token = at.first + row + static_cast<int>(threadIdx.x) % 32 / 4 + 8 * half;
      if (token < at.queries)
        to.log_sum_exp[token * to.log_sum_exp_stride] = (softmax.maximum[m][half] + log2f(softmax.sum[m][half])) * kLn2;
    }
  }
}

// One query tile of one head. The next copy is always on its way while the matrix units work: values during the scores,
// the next keys during the softmax and the product with the values. At the end, since registers are short before,
// `store` is called as store(query tile, warp's first row, softmax, sums).
template <int kDim, int kTiles, typename KeyRows, typename Store>
__device__ void attend(const HeadRows& query, const KeyRows& key, const KeyRows& value, ForwardTile at, float scale,
                       const Store& store) {
  constexpr int kQueries = kForwardQueries<kTiles>;
  auto* memory = reinterpret_cast<std::uint16_t*>(shared_memory());
  const Tile<kDim> query_tile{memory}, key_tile{memory + kQueries * kDim}, value_tile{key_tile.data + kTileRows * kDim};
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16 * kTiles;
  const int keys = min(at.context + min(at.first + kQueries, at.queries), at.key_end);  // of the tile's last row
  const int diagonal = at.context + at.first + warp_row + static_cast<int>(threadIdx.x) % 32 / 4;

  load_rows<kQueries>(query_tile, query, at.first, at.queries);
  load_rows<kTileRows>(key_tile, key, at.key_begin, keys);
  commit_copies();

  float sums[kTiles][kDim / 8][4];
  set_zero(sums);
  OnlineSoftmax<kDim, kTiles> softmax;
  for (int begin = at.key_begin; begin < keys; begin += kTileRows) {
    wait_copies<0>();
    __syncthreads();  // the keys are there, and nobody reads the values of the round before any more
    load_rows<kTileRows>(value_tile, value, begin, keys);
    commit_copies();
    float scores[kTiles][8][4];
    set_zero(scores);
    multiply_transposed(scores, query_tile, warp_row, key_tile);
    if (begin + kTileRows > at.context + at.first + warp_row) mask_scores(scores, diagonal - begin);
    wait_copies<0>();
    __syncthreads();  // the values are there, and nobody reads the keys any more
    if (begin + kTileRows < keys) {
      load_rows<kTileRows>(key_tile, key, begin + kTileRows, keys);
      commit_copies();
    }
    softmax.add(scores, sums, scale * kLog2E);
    multiply(sums, scores, value_tile);
  }
  store(query_tile, warp_row, softmax, sums);
}

// Blocks are launched heads first, so that the heads that share keys and values run together, and the last tiles, which
// see most keys, before the first ones.
__device__ inline int first_query_of_block(int queries) {
  return static_cast<int>(gridDim.y - 1 - blockIdx.y) * queries;
}

template <int kDim>
__device__ ForwardOutput output_of(BFloat16* out, float* lse, std::int64_t query_begin, int heads) {
  const std::int64_t scalar = query_begin * heads + blockIdx.x;
  return {reinterpret_cast<std::uint16_t*>(out) + scalar * kDim, static_cast<std::int64_t>(heads) * kDim,
          lse == nullptr ? nullptr : lse + scalar, heads};
}

// Nearly two for each multiprocessor of the largest GPUs.
inline constexpr std::int64_t kWantedForwardBlocks = 256;

// Calls body(std::integral_constant<int, kTiles>, grid). Two tiles a warp halve its reads of keys and values; one makes
// twice the blocks, where few would leave multiprocessors idle. Rows come out the same to the bit.
template <int kDim, typename Body>
void with_row_tiles(int heads, int max_queries, int sequences, const Body& body) {
  const auto grid = [&](auto tiles) {
    return dim3(static_cast<unsigned>(heads), blocks_for(max_queries, kForwardQueries<tiles>),
                static_cast<unsigned>(sequences));
  };
  constexpr std::integral_constant<int, 1> one{};
  constexpr std::integral_constant<int, 2> two{};
  if constexpr (kDim == 128) {
    const std::int64_t blocks = std::int64_t{blocks_for(max_queries, kForwardQueries<2>)} * heads * sequences;
    if (blocks >= kWantedForwardBlocks) return body(two, grid(two));
  }
  body(one, grid(one));
}

}  // namespace alchemist::cuda

// Gradients of causal attention (query i sees keys 0..context + i), after FlashAttention-2. With P the softmax and
// delta_i = sum_d output_id grad_output_id:
//   dS = P (grad_output value^T - delta),  grad_query = scale dS key,  grad_key = scale dS^T query,
//   grad_value = P^T grad_output.
// P is rebuilt from the log-sum-exp of the forward. One kernel owns key tiles and adds over queries and over the query
// heads of a key-value head, the other owns query tiles and adds over keys: scores are computed twice, and in exchange
// nothing is added atomically, so that results are the same to the bit in every run.
#pragma once

#include "kernels/cuda/attention_tile.cuh"

namespace alchemist::cuda {

// Five tiles: two that stay, two that alternate, one that is reloaded in the middle of a round.
template <int kDim>
inline constexpr std::size_t kBackwardTileBytes = std::size_t{5} * kTileRows* kDim * sizeof(std::uint16_t);
// And log-sum-exp and delta of two tiles of queries.
template <int kDim>
inline constexpr std::size_t kBackwardSharedBytes = kBackwardTileBytes<kDim> + 2 * 2 * kTileRows * sizeof(float);

// Of one head of one sequence.
struct BackwardRows {
  HeadRows query, key, value, grad_output;
  const float* log_sum_exp;  // of the first query; those of the next ones scalar_stride apart
  const float* delta;        // the same
  std::int64_t scalar_stride;
  float scale;
  int queries;
  int keys;

  __device__ int context() const { return keys - queries; }
};

template <int kDim>
__device__ __forceinline__ Tile<kDim> backward_tile(int index) {
  return {reinterpret_cast<std::uint16_t*>(shared_memory()) + index * kTileRows * kDim};
}

// Log-sum-exp (times log2 e) and delta of a lane's two rows of queries, `token` and the eighth behind it.
struct RowScalars {
  float log_sum_exp[2], delta[2];

  __device__ RowScalars(const BackwardRows& rows, int token) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = token + 8 * half;
      const bool valid = row < rows.queries;  // no weight for queries that do not exist
      log_sum_exp[half] = valid ? rows.log_sum_exp[row * rows.scalar_stride] * kLog2E : INFINITY;
      delta[half] = valid ? rows.delta[row * rows.scalar_stride] : 0.0F;
    }
  }
};

template <int kPieces>
__device__ __forceinline__ void multiply_by(float (&sums)[1][kPieces][4], float factor) {
#pragma unroll
  for (int n = 0; n < kPieces; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[0][n][e] *= factor;
  }
}

// grad_query of 64 queries of one head.
template <int kDim>
__device__ void query_gradient(const BackwardRows& rows, int first, std::uint16_t* grad_query, std::int64_t stride) {
  const Tile<kDim> query = backward_tile<kDim>(0), grad_output = backward_tile<kDim>(1), value = backward_tile<kDim>(4);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const int keys = min(rows.context() + first + kTileRows, rows.keys);
  const int diagonal = rows.context() + first + warp_row;  // the last key that the warp's first row sees

  load_rows<kTileRows>(query, rows.query, first, rows.queries);
  load_rows<kTileRows>(grad_output, rows.grad_output, first, rows.queries);
  load_rows<kTileRows>(backward_tile<kDim>(2), rows.key, 0, keys);
  commit_copies();
  load_rows<kTileRows>(value, rows.value, 0, keys);
  commit_copies();

  const RowScalars of_row(rows, first + warp_row + lane / 4);

  float sums[1][kDim / 8][4];
  set_zero(sums);
  for (int begin = 0, round = 0; begin < keys; begin += kTileRows, ++round) {
    const Tile<kDim> key = backward_tile<kDim>(2 + round % 2);
    wait_copies<1>();
    __syncthreads();  // the keys are there; those of the round before are read no more
    if (begin + kTileRows < keys)
      load_rows<kTileRows>(backward_tile<kDim>(3 - round % 2), rows.key, begin + kTileRows, keys);
    commit_copies();
    float scores[1][8][4], grad_scores[1][8][4];
    set_zero(scores);
    multiply_transposed(scores, query, warp_row, key);
    wait_copies<1>();
    __syncthreads();  // the values are there
    set_zero(grad_scores);
    multiply_transposed(grad_scores, grad_output, warp_row, value);
    __syncthreads();  // and read no more
    if (begin + kTileRows < keys) load_rows<kTileRows>(value, rows.value, begin + kTileRows, keys);
    commit_copies();
    if (begin + kTileRows > diagonal) mask_scores(scores, diagonal + lane / 4 - begin);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float p = exp2_approximate(fmaf(rows.scale * kLog2E, scores[0][n][e], -of_row.log_sum_exp[e / 2]));
        scores[0][n][e] = p * (grad_scores[0][n][e] - of_row.delta[e / 2]);
      }
    }
    multiply(sums, scores, key);
  }
  wait_copies<0>();
  multiply_by(sums, rows.scale);
  store_rows(sums[0], query, warp_row, grad_query, stride, first + warp_row, rows.queries);
}

// Log-sum-exp (times log2 e) and delta of a tile of queries on their way into shared memory: the first 64 threads
// carry one, the last 64 the other.
struct QueryScalars {
  float carried = 0.0F;

  __device__ void load(const BackwardRows& rows, int first) {
    const int token = first + static_cast<int>(threadIdx.x) % kTileRows;
    const bool is_delta = threadIdx.x >= kTileRows;
    carried = is_delta ? 0.0F : INFINITY;  // no weight for queries that do not exist
    if (token >= rows.queries) return;
    carried = is_delta ? rows.delta[token * rows.scalar_stride] : rows.log_sum_exp[token * rows.scalar_stride] * kLog2E;
  }
  __device__ void store(float* shared) const { shared[threadIdx.x] = carried; }
};

// The tiles of queries that see a tile of keys, for all query heads of its key-value head: round r is tile
// first_tile + r % tiles of head r / tiles.
struct QueryRounds {
  int first;  // query at which the first tile begins
  int tiles;
  int heads;

  __device__ QueryRounds(int key_begin, int context, int queries, int query_heads)
      : first(max(key_begin - context, 0) / kTileRows * kTileRows),
        tiles((queries - first + kTileRows - 1) / kTileRows),
        heads(query_heads) {}
  __device__ int count() const { return tiles * heads; }
  __device__ int head(int round) const { return round / tiles; }
  __device__ int begin(int round) const { return first + round % tiles * kTileRows; }
};

// The softmax's weights in the place of transposed scores, and weights times (products - delta) in the place of
// transposed products of values with the output's gradient: the scores' gradients, but for the scale. Columns are
// queries, whose scalars lie in shared memory.
__device__ __forceinline__ void transposed_weights(float (&scores)[8][4], const float* scalars, float scale) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const float2 log_sum_exp = *reinterpret_cast<const float2*>(scalars + 8 * n + threadIdx.x % 4 * 2);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float of_query = e % 2 == 0 ? log_sum_exp.x : log_sum_exp.y;
      scores[n][e] = exp2_approximate(fmaf(scale * kLog2E, scores[n][e], -of_query));
    }
  }
}
__device__ __forceinline__ void transposed_gradients(float (&products)[8][4], const float (&weights)[8][4],
                                                     const float* scalars) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const float2 delta = *reinterpret_cast<const float2*>(scalars + kTileRows + 8 * n + threadIdx.x % 4 * 2);
#pragma unroll
    for (int e = 0; e < 4; ++e) products[n][e] = weights[n][e] * (products[n][e] - (e % 2 == 0 ? delta.x : delta.y));
  }
}

// The transposed mask: a query sees no key after itself. `diagonal`: the lane's first key, counted from the tile's
// first query.
__device__ __forceinline__ void mask_transposed(float (&scores)[8][4], int diagonal) {
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (8 * n + column + e % 2 < diagonal + e / 2 * 8) scores[n][e] = -INFINITY;
    }
  }
}

// Where the gradients of a key-value head's first key and value are.
struct KeyGradients {
  float* key;
  float* value;
  std::int64_t stride;  // elements between tokens
  bool add = true;      // to what is there
};

// A warp's results for keys first..first + 15, those from `end` on left out.
template <int kPieces>
__device__ __forceinline__ void store_key_gradients(const KeyGradients& to, const float (&keys)[kPieces][4],
                                                    const float (&values)[kPieces][4], int first, int end) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const auto store = [&](float* place, float x, float y) {
    auto* pair = reinterpret_cast<float2*>(place);
    const float2 old = to.add ? *pair : float2{0.0F, 0.0F};
    *pair = {old.x + x, old.y + y};
  };
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first + lane / 4 + 8 * half;
    if (row >= end) continue;
    const std::int64_t at = row * to.stride + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < kPieces; ++n) {
      store(to.key + at + 8 * n, keys[n][2 * half], keys[n][2 * half + 1]);
      store(to.value + at + 8 * n, values[n][2 * half], values[n][2 * half + 1]);
    }
  }
}

// Adds to the gradients of 64 keys of one key-value head; `rows(h)` are the rows of its query head h. `gradients_of()`,
// which says where, is called at the end, when there are registers for it.
template <int kDim, typename RowsOfHead, typename Gradients>
__device__ void key_gradient(const RowsOfHead& rows, int query_heads, int first, const Gradients& gradients_of) {
  const Tile<kDim> key = backward_tile<kDim>(0), value = backward_tile<kDim>(1), grad_output = backward_tile<kDim>(4);
  auto* scalars = reinterpret_cast<float*>(shared_memory() + kBackwardTileBytes<kDim>);
  const BackwardRows of_first = rows(0);
  const int queries = of_first.queries;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const int diagonal = first - of_first.context();  // the first query that sees the tile's first key
  const QueryRounds rounds(first, of_first.context(), queries, query_heads);

  load_rows<kTileRows>(key, of_first.key, first, of_first.keys);
  load_rows<kTileRows>(value, of_first.value, first, of_first.keys);
  load_rows<kTileRows>(backward_tile<kDim>(2), of_first.query, rounds.begin(0), queries);
  commit_copies();
  load_rows<kTileRows>(grad_output, of_first.grad_output, rounds.begin(0), queries);
  commit_copies();
  QueryScalars next;
  next.load(of_first, rounds.begin(0));
  next.store(scalars);

  float key_sums[1][kDim / 8][4], value_sums[1][kDim / 8][4];
  set_zero(key_sums);
  set_zero(value_sums);
  for (int round = 0; round < rounds.count(); ++round) {
    const bool more = round + 1 < rounds.count();
    const BackwardRows following = rows(rounds.head(more ? round + 1 : round));
    const int following_begin = rounds.begin(more ? round + 1 : round);
    const Tile<kDim> query = backward_tile<kDim>(2 + round % 2);
    wait_copies<1>();
    __syncthreads();  // the queries are there; those of the round before are read no more
    if (more) {
      load_rows<kTileRows>(backward_tile<kDim>(3 - round % 2), following.query, following_begin, queries);
      next.load(following, following_begin);
    }
    commit_copies();
    float scores[1][8][4], grad_scores[1][8][4];
    set_zero(scores);
    multiply_transposed(scores, key, warp_row, query);
    if (rounds.begin(round) < diagonal + kTileRows)
      mask_transposed(scores[0], diagonal + warp_row + static_cast<int>(threadIdx.x) % 32 / 4 - rounds.begin(round));
    if (more) next.store(scalars + (round + 1) % 2 * 2 * kTileRows);
    wait_copies<1>();
    __syncthreads();  // the output's gradients are there
    set_zero(grad_scores);
    multiply_transposed(grad_scores, value, warp_row, grad_output);
    const float* of_round = scalars + round % 2 * 2 * kTileRows;
    transposed_weights(scores[0], of_round, of_first.scale);
    transposed_gradients(grad_scores[0], scores[0], of_round);
    multiply(value_sums, scores, grad_output);
    __syncthreads();  // and read no more
    if (more) load_rows<kTileRows>(grad_output, following.grad_output, following_begin, queries);
    commit_copies();
    multiply(key_sums, grad_scores, query);
  }
  wait_copies<0>();
  multiply_by(key_sums, of_first.scale);
  store_key_gradients(gradients_of(), key_sums[0], value_sums[0], first + warp_row, of_first.keys);
}

}  // namespace alchemist::cuda

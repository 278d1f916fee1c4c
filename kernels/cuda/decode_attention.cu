// Attention of one new token a sequence over its cached keys and values: bound by the bytes of the cache, as long as
// arithmetic stays behind them. So the heads that share a key-value head read it together, as rows of one product on
// the matrix units, though few of its rows are used. The keys of a sequence are split over several blocks where there
// are few sequences; their parts are put together in a fixed order.
#include <algorithm>

#include "kernels/cuda/attention_parts.cuh"
#include "kernels/cuda/dispatch.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/paged_attention.h"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kHeadsTogether = 16;  // of one key-value head, in one block: the rows of a product
constexpr int kWarpKeys = 16;       // that a warp takes at once
constexpr int kStages = 3;          // tiles of keys and values, all but one of them on their way
static_assert(kWarps * kWarpKeys == kTileRows);
constexpr int kWantedParts = 512;
constexpr int kMostSplits = 32;
constexpr int kFewestKeys = 256;  // of a split

struct KeyRange {
  PagedHeadRows key;
  const std::uint16_t* value;  // of page 0, laid out as the keys are
  int begin, end;
};

template <int kDim>
__device__ __forceinline__ Tile<kDim> decode_tile(int index) {
  return {reinterpret_cast<std::uint16_t*>(shared_memory()) + index * kTileRows * kDim};
}

// Queries of the block's heads as the left operand; rows from `heads` on are zeros.
template <int kDim>
__device__ __forceinline__ void load_query(std::uint32_t (&query)[kDim / 16][4], const std::uint16_t* from, int heads) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int step = 0; step < kDim / 16; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int head = lane / 4 + i % 2 * 8;
      const int element = 16 * step + i / 2 * 8 + lane % 4 * 2;
      query[step][i] = head < heads ? *reinterpret_cast<const std::uint32_t*>(from + head * kDim + element) : 0U;
    }
  }
}

// Issues this warp's copies of 16 keys and values to rows row..row + 15 of a stage; those from range.end on are zeros.
template <int kDim>
__device__ __forceinline__ void load_keys(const KeyRange& range, int stage, int row, int begin) {
  constexpr int kChunks = Tile<kDim>::kChunks;
  constexpr int kRowsAtOnce = 32 / kChunks;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int index = lane % kChunks;
  std::int64_t offset[kWarpKeys / kRowsAtOnce];  // first all of them, so that the page tables' loads overlap
#pragma unroll
  for (int i = 0; i < kWarpKeys / kRowsAtOnce; ++i) {
    const int token = begin + lane / kChunks + i * kRowsAtOnce;
    offset[i] = range.key.offset(min(token, range.end - 1)) + index * 8;
  }
#pragma unroll
  for (int i = 0; i < kWarpKeys / kRowsAtOnce; ++i) {
    const int r = lane / kChunks + i * kRowsAtOnce;
    const bool valid = begin + r < range.end;
    copy_async(decode_tile<kDim>(2 * stage).chunk(row + r, index), range.key.first + offset[i], valid);
    copy_async(decode_tile<kDim>(2 * stage + 1).chunk(row + r, index), range.value + offset[i], valid);
  }
}

// This warp's share of the range: every fourth run of 16 keys. No other warp reads its rows of the tiles, so that warps
// do not wait for each other.
template <int kDim>
__device__ void attend_range(const KeyRange& range, const std::uint32_t (&query)[kDim / 16][4], float scale,
                             OnlineSoftmax<kDim, 1>& softmax, float (&sums)[1][kDim / 8][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row = static_cast<int>(threadIdx.x) / 32 * kWarpKeys;
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    const int begin = range.begin + row + s * kTileRows;
    if (begin < range.end) load_keys<kDim>(range, s, row, begin);
    commit_copies();
  }
  int stage = 0;
  for (int begin = range.begin + row; begin < range.end; begin += kTileRows) {
    wait_copies<kStages - 2>();
    __syncwarp();  // the keys and values are there; those of the round before are read no more
    const int next = begin + (kStages - 1) * kTileRows;
    if (next < range.end) load_keys<kDim>(range, (stage + kStages - 1) % kStages, row, next);
    commit_copies();
    const Tile<kDim> key = decode_tile<kDim>(2 * stage), value = decode_tile<kDim>(2 * stage + 1);
    float scores[1][2][4];
    set_zero(scores);
#pragma unroll
    for (int step = 0; step < kDim / 16; ++step) {
      std::uint32_t b[4];
      ldmatrix(b, key.chunk(row + lane / 16 * 8 + lane % 8, 2 * step + lane / 8 % 2));
      mma(scores[0][0], query[step], b[0], b[1]);
      mma(scores[0][1], query[step], b[2], b[3]);
    }
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (begin + 8 * n + lane % 4 * 2 + e % 2 >= range.end) scores[0][n][e] = -INFINITY;
      }
    }
    softmax.add(scores, sums, scale * kLog2E);
    std::uint32_t weights[4];
    as_left(weights, scores[0][0], scores[0][1]);
#pragma unroll
    for (int n = 0; n < kDim / 16; ++n) {
      std::uint32_t b[4];
      ldmatrix_transposed(b, value.chunk(row + lane % 16, 2 * n + lane / 16));
      mma(sums[0][2 * n], weights, b[0], b[1]);
      mma(sums[0][2 * n + 1], weights, b[2], b[3]);
    }
    stage = (stage + 1) % kStages;
  }
}

template <int kDim>
constexpr std::size_t kDecodeSharedBytes = std::size_t{kStages} * 2 * kTileRows* kDim * sizeof(std::uint16_t);

// Block: split x, a group of heads of one key-value head y, sequence z.
template <int kDim>
__global__ void __launch_bounds__(kThreads, 2) decode(PagedAttention<BFloat16> call, float scale, float* parts) {
  constexpr int kFloats = kPartFloats<kDim>;
  static_assert(kWarps * kHeadsTogether * kFloats * sizeof(float) <= kDecodeSharedBytes<kDim>);
  const PagedRows rows = call.rows[blockIdx.z];
  const int group = call.heads / call.kv_heads;
  const int blocks_of_group = (group + kHeadsTogether - 1) / kHeadsTogether;
  const int kv_head = static_cast<int>(blockIdx.y) / blocks_of_group;
  const int first_in_group = static_cast<int>(blockIdx.y) % blocks_of_group * kHeadsTogether;
  const int first_head = kv_head * group + first_in_group;
  const int heads = min(group - first_in_group, kHeadsTogether);

  const int split_keys = (rows.keys + static_cast<int>(gridDim.x) - 1) / static_cast<int>(gridDim.x);
  const int begin = static_cast<int>(blockIdx.x) * split_keys;
  const KeyRange range{
      PagedHeadRows{reinterpret_cast<const std::uint16_t*>(call.k_cache) + kv_head * kDim,
                    call.block_tables + rows.table_begin, static_cast<std::int64_t>(call.kv_heads) * kDim,
                    call.block_stride, call.block_size},
      reinterpret_cast<const std::uint16_t*>(call.v_cache) + kv_head * kDim, begin, min(begin + split_keys, rows.keys)};
  std::uint32_t query[kDim / 16][4];
  load_query<kDim>(
      query, reinterpret_cast<const std::uint16_t*>(call.q) + rows.query_begin * call.q_stride + first_head * kDim,
      heads);
  OnlineSoftmax<kDim, 1> softmax;
  float sums[1][kDim / 8][4];
  set_zero(sums);
  attend_range<kDim>(range, query, scale, softmax, sums);

  auto* stored = reinterpret_cast<float*>(shared_memory());
  __syncthreads();  // the tiles are read no more
  store_parts<kDim>(stored + static_cast<int>(threadIdx.x) / 32 * kHeadsTogether * kFloats, kFloats, 0, heads, softmax,
                    sums[0]);
  __syncthreads();
  const std::int64_t row = static_cast<std::int64_t>(rows.query_begin) * call.heads;
  for (int i = static_cast<int>(threadIdx.x); i < heads * kDim; i += kThreads) {
    const int h = i / kDim, head = first_head + h;
    const std::int64_t at = (static_cast<std::int64_t>(blockIdx.z) * gridDim.x + blockIdx.x) * call.heads + head;
    combine(stored + h * kFloats, kWarps, kHeadsTogether * kFloats, i % kDim,
            gridDim.x > 1 ? nullptr : reinterpret_cast<std::uint16_t*>(call.out) + (row + head) * kDim,
            call.lse == nullptr ? nullptr : call.lse + row + head, parts + at * kFloats);
  }
}

}  // namespace

// Splits depend on the shape of the step alone, not on the GPU: the same everywhere, and so are the results.
int decode_splits(const PagedAttention<BFloat16>& call) {
  const int wanted = std::clamp(kWantedParts / std::max(call.sequences, 1), 1, kMostSplits);
  return std::clamp((call.max_keys + kFewestKeys - 1) / kFewestKeys, 1, wanted);
}

std::int64_t decode_parts(const PagedAttention<BFloat16>& call) { return std::int64_t{kWantedParts} * call.heads; }

void decode_attention(const PagedAttention<BFloat16>& call, int splits, float* parts, Stream stream) {
  const int group = call.heads / call.kv_heads;
  const int blocks = call.kv_heads * ((group + kHeadsTogether - 1) / kHeadsTogether);
  const auto sequences = static_cast<unsigned>(call.sequences);
  with_head_dim(call.head_dim, [&](auto dim) {
    launch(decode<dim>, dim3(static_cast<unsigned>(splits), static_cast<unsigned>(blocks), sequences), dim3(kThreads),
           kDecodeSharedBytes<dim>, stream, call, attention_scale(dim), parts);
  });
}

}  // namespace alchemist::cuda

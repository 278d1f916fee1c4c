// Attention of one new token a sequence over its cached keys and values: bound by the bytes of the cache, as long as
// arithmetic stays behind them. So the heads that share a key-value head read it together, as rows of one product on
// the matrix units, though few of its rows are used. The keys of a sequence are split over several blocks where there
// are few sequences; their parts are put together in a fixed order.
#include <algorithm>

#include "kernels/cuda/attention_forward.cuh"
#include "kernels/cuda/dispatch.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/prefill_attention.h"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kHeadsTogether = 16;  // of one key-value head, in one block: the rows of a product
constexpr int kWarpKeys = 16;       // that a warp takes at once
constexpr int kStages = 3;          // tiles of keys and values, all but one of them on their way
static_assert(kWarps * kWarpKeys == kTileRows);
// Splits depend on the shape of the step alone, not on the GPU: the same everywhere, and so are the results.
constexpr int kWantedParts = 512;
constexpr int kMostSplits = 32;
constexpr int kFewestKeys = 256;  // of a split

int splits_for(int sequences, int max_keys) {
  const int wanted = std::clamp(kWantedParts / std::max(sequences, 1), 1, kMostSplits);
  return std::clamp((max_keys + kFewestKeys - 1) / kFewestKeys, 1, wanted);
}

// A part on its way through memory: total, top, weighted sum of values.
template <int kDim>
inline constexpr int kPartFloats = kDim + 2;

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

// The parts of a warp's heads, kPartFloats apart.
template <int kDim>
__device__ void store_parts(float* to, const OnlineSoftmax<kDim, 1>& softmax, const float (&sums)[1][kDim / 8][4],
                            int heads) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float total = lane_sum<4>(softmax.sum[0][half]);
    const int head = lane / 4 + 8 * half;
    if (head >= heads) continue;
    float* part = to + head * kPartFloats<kDim>;
    if (lane % 4 == 0) {
      part[0] = total;
      part[1] = softmax.maximum[0][half];
    }
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      *reinterpret_cast<float2*>(part + 2 + 8 * n + lane % 4 * 2) = {sums[0][n][2 * half], sums[0][n][2 * half + 1]};
    }
  }
}

// Puts `count` stored parts, `stride` floats apart, together for one element. Writes the output, or the part of them
// all if `output` is null.
__device__ void combine(const float* parts, int count, std::int64_t stride, int element, std::uint16_t* output,
                        float* log_sum_exp, float* part) {
  float top = -INFINITY, total = 0.0F, sum = 0.0F;
#pragma unroll 8
  for (int i = 0; i < count; ++i) top = fmaxf(top, parts[i * stride + 1]);
#pragma unroll 8
  for (int i = 0; i < count; ++i) {
    const float* stored = parts + i * stride;
    // 0 for a part without keys; no branch, so that loads do not wait for each other.
    const float factor = stored[1] == -INFINITY ? 0.0F : exp2_approximate(stored[1] - top);
    total += factor * stored[0];
    sum += factor * stored[2 + element];
  }
  if (output != nullptr) {
    output[element] = round_to_bf16(sum / total);
    if (log_sum_exp != nullptr && element == 0) *log_sum_exp = (top + log2f(total)) * kLn2;
    return;
  }
  part[2 + element] = sum;
  if (element == 0) {
    part[0] = total;
    part[1] = top;
  }
}

template <int kDim>
constexpr std::size_t kDecodeSharedBytes = std::size_t{kStages} * 2 * kTileRows* kDim * sizeof(std::uint16_t);

// Block: split x, a group of heads of one key-value head y, sequence z.
template <int kDim>
__global__ void __launch_bounds__(kThreads, 2) decode(PagedAttention<BFloat16> call, float scale, float* workspace) {
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
  store_parts<kDim>(stored + static_cast<int>(threadIdx.x) / 32 * kHeadsTogether * kFloats, softmax, sums, heads);
  __syncthreads();
  const std::int64_t row = static_cast<std::int64_t>(rows.query_begin) * call.heads;
  for (int i = static_cast<int>(threadIdx.x); i < heads * kDim; i += kThreads) {
    const int h = i / kDim, head = first_head + h;
    const std::int64_t at = (static_cast<std::int64_t>(blockIdx.z) * gridDim.x + blockIdx.x) * call.heads + head;
    combine(stored + h * kFloats, kWarps, kHeadsTogether * kFloats, i % kDim,
            gridDim.x > 1 ? nullptr : reinterpret_cast<std::uint16_t*>(call.out) + (row + head) * kDim,
            call.lse == nullptr ? nullptr : call.lse + row + head, workspace + at * kFloats);
  }
}

// Block: head x, sequence y; a thread for each element.
template <int kDim>
__global__ void __launch_bounds__(kDim)
    combine_splits(PagedAttention<BFloat16> call, const float* workspace, int splits) {
  constexpr int kFloats = kPartFloats<kDim>;
  const std::int64_t head = blockIdx.x;
  const std::int64_t row = static_cast<std::int64_t>(call.rows[blockIdx.y].query_begin) * call.heads + head;
  const float* parts = workspace + (static_cast<std::int64_t>(blockIdx.y) * splits * call.heads + head) * kFloats;
  combine(parts, splits, static_cast<std::int64_t>(call.heads) * kFloats, static_cast<int>(threadIdx.x),
          reinterpret_cast<std::uint16_t*>(call.out) + row * kDim, call.lse == nullptr ? nullptr : call.lse + row,
          nullptr);
}

void decode_attention(const PagedAttention<BFloat16>& call, float* workspace, Stream stream) {
  const int splits = splits_for(call.sequences, call.max_keys);
  const int group = call.heads / call.kv_heads;
  const int blocks = call.kv_heads * ((group + kHeadsTogether - 1) / kHeadsTogether);
  const auto sequences = static_cast<unsigned>(call.sequences);
  with_head_dim(call.head_dim, [&](auto dim) {
    launch(decode<dim>, dim3(static_cast<unsigned>(splits), static_cast<unsigned>(blocks), sequences), dim3(kThreads),
           kDecodeSharedBytes<dim>, stream, call, attention_scale(dim), workspace);
    if (splits == 1) return;
    launch(combine_splits<dim>, dim3(static_cast<unsigned>(call.heads), sequences), dim3(dim), 0, stream, call,
           workspace, splits);
  });
}

}  // namespace

void paged_attention(const PagedAttention<BFloat16>& call, void* workspace, Stream stream) {
  check_runs(call.q_stride | call.block_stride, "attention: strides of whole runs");
  if (call.max_queries > 1) {
    prefill_attention(call, stream);
  } else {
    decode_attention(call, static_cast<float*>(workspace), stream);
  }
}

std::int64_t paged_attention_workspace(std::int32_t sequences, std::int32_t heads, std::int32_t head_dim) {
  const std::int64_t parts = std::max<std::int64_t>(kWantedParts, sequences);
  return parts * heads * (head_dim + 2) * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace alchemist::cuda

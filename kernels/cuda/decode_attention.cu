// Attention of one new token a sequence over its cached keys and values: bound by the bytes of the cache, so plain
// arithmetic does. The heads that share a key-value head read it together. The keys of a sequence are split over
// several blocks where there are few sequences; their parts are put together in a fixed order.
#include <algorithm>

#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/dispatch.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/prefill_attention.h"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kHeadsTogether = 4;  // of one key-value head, in one block
constexpr int kKeysInFlight = 4;   // of one group of lanes
// Splits depend on the shape of the step alone, not on the GPU: the same everywhere, and so are the results.
constexpr int kWantedParts = 512;
constexpr int kMostSplits = 32;
constexpr int kFewestKeys = 128;  // of a split

int splits_for(int sequences, int max_keys) {
  const int wanted = std::clamp(kWantedParts / std::max(sequences, 1), 1, kMostSplits);
  return std::clamp((max_keys + kFewestKeys - 1) / kFewestKeys, 1, wanted);
}

// The softmax of a run of keys for one head, as far as a lane knows it: eight elements of the weighted sum of values.
struct Part {
  float top = -INFINITY;  // of the scores, in units of log2
  float total = 0.0F;     // of exp2(score - top)
  float sum[kRun] = {};

  __device__ void scale_to(float new_top) {
    const float factor = top == -INFINITY ? 0.0F : exp2_approximate(top - new_top);
    top = new_top;
    total *= factor;
#pragma unroll
    for (int e = 0; e < kRun; ++e) sum[e] *= factor;
  }
};

// A part on its way through memory: total, top, weighted sum of values.
template <int kDim>
inline constexpr int kPartFloats = kDim + 2;

struct KeyRange {
  PagedHeadRows key, value;
  int begin, end;
};

// This lane's share of the range for heads 0..heads - 1 of the block: lanes side by side hold one key, groups of lanes
// and warps take turns.
template <int kDim>
__device__ void attend_range(const KeyRange& range, const float (&query)[kHeadsTogether][kRun], int heads,
                             Part (&parts)[kHeadsTogether]) {
  constexpr int kLanes = kDim / kRun;
  constexpr int kGroups = kThreads / kLanes;
  const int group = static_cast<int>(threadIdx.x) / kLanes;
  const int element = static_cast<int>(threadIdx.x) % kLanes * kRun;
  // All lanes of a warp make the same number of rounds, since they add up scores together.
  for (int round = range.begin; round < range.end; round += kGroups * kKeysInFlight) {
    uint4 keys[kKeysInFlight], values[kKeysInFlight];
#pragma unroll
    for (int i = 0; i < kKeysInFlight; ++i) {
      const int token = min(round + i * kGroups + group, range.end - 1);
      keys[i] = load_bits(range.key.row(token) + element);
      values[i] = load_bits(range.value.row(token) + element);
    }
    float scores[kHeadsTogether][kKeysInFlight];
#pragma unroll
    for (int i = 0; i < kKeysInFlight; ++i) {
      float key[kRun];
      unpack(key, keys[i]);
#pragma unroll
      for (int h = 0; h < kHeadsTogether; ++h) {
        float dot = 0.0F;
#pragma unroll
        for (int e = 0; e < kRun; ++e) dot += query[h][e] * key[e];
        dot = lane_sum<kLanes>(dot);
        scores[h][i] = round + i * kGroups + group < range.end ? dot : -INFINITY;
      }
    }
#pragma unroll
    for (int h = 0; h < kHeadsTogether; ++h) {
      if (h >= heads) break;
      float top = parts[h].top;
#pragma unroll
      for (int i = 0; i < kKeysInFlight; ++i) top = fmaxf(top, scores[h][i]);
      if (top == -INFINITY) continue;  // no key yet
      parts[h].scale_to(top);
#pragma unroll
      for (int i = 0; i < kKeysInFlight; ++i) {
        const float p = exp2_approximate(scores[h][i] - top);
        float value[kRun];
        unpack(value, values[i]);
        parts[h].total += p;
#pragma unroll
        for (int e = 0; e < kRun; ++e) parts[h].sum[e] += p * value[e];
      }
    }
  }
}

__device__ void store_part(float* to, const Part& part, int element) {
  if (element == 0) {  // all lanes of a group know the same
    to[0] = part.total;
    to[1] = part.top;
  }
#pragma unroll
  for (int e = 0; e < kRun; ++e) to[2 + element + e] = part.sum[e];
}

// Puts `count` stored parts, `stride` floats apart, together for one element. Writes the output, or the part of them
// all if `output` is null.
__device__ void combine(const float* parts, int count, std::int64_t stride, int element, std::uint16_t* output,
                        float* log_sum_exp, float* part) {
  float top = -INFINITY, total = 0.0F, sum = 0.0F;
  for (int i = 0; i < count; ++i) top = fmaxf(top, parts[i * stride + 1]);
  for (int i = 0; i < count; ++i) {
    const float* stored = parts + i * stride;
    if (stored[1] == -INFINITY) continue;  // a part without keys
    const float factor = exp2_approximate(stored[1] - top);
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
constexpr std::size_t kDecodeSharedBytes = std::size_t{kThreads / (kDim / kRun)} * kHeadsTogether* kPartFloats<kDim> *
                                           sizeof(float);

// Block: split x, a group of heads of one key-value head y, sequence z.
template <int kDim>
__global__ void __launch_bounds__(kThreads) decode(PagedAttention<BFloat16> call, float scale, float* workspace) {
  constexpr int kLanes = kDim / kRun;
  constexpr int kGroups = kThreads / kLanes;
  constexpr int kFloats = kPartFloats<kDim>;
  const PagedRows rows = call.rows[blockIdx.z];
  const int group = call.heads / call.kv_heads;
  const int blocks_of_group = (group + kHeadsTogether - 1) / kHeadsTogether;
  const int kv_head = static_cast<int>(blockIdx.y) / blocks_of_group;
  const int first_in_group = static_cast<int>(blockIdx.y) % blocks_of_group * kHeadsTogether;
  const int first_head = kv_head * group + first_in_group;
  const int heads = min(group - first_in_group, kHeadsTogether);
  const int lane_element = static_cast<int>(threadIdx.x) % kLanes * kRun;

  const int split_keys = (rows.keys + static_cast<int>(gridDim.x) - 1) / static_cast<int>(gridDim.x);
  const int begin = static_cast<int>(blockIdx.x) * split_keys;
  const auto cache = [&](const BFloat16* layer) {
    return PagedHeadRows{reinterpret_cast<const std::uint16_t*>(layer) + kv_head * kDim,
                         call.block_tables + rows.table_begin, static_cast<std::int64_t>(call.kv_heads) * kDim,
                         call.block_stride, call.block_size};
  };
  const KeyRange range{cache(call.k_cache), cache(call.v_cache), begin, min(begin + split_keys, rows.keys)};

  float query[kHeadsTogether][kRun] = {};
  for (int h = 0; h < heads; ++h) {
    load_run(query[h], reinterpret_cast<const std::uint16_t*>(call.q) + rows.query_begin * call.q_stride +
                           (first_head + h) * kDim + lane_element);
#pragma unroll
    for (int e = 0; e < kRun; ++e) query[h][e] *= scale * kLog2E;
  }
  Part parts[kHeadsTogether];
  attend_range<kDim>(range, query, heads, parts);

  auto* stored = reinterpret_cast<float*>(shared_memory());
  float* mine = stored + static_cast<int>(threadIdx.x) / kLanes * kHeadsTogether * kFloats;
#pragma unroll
  for (int h = 0; h < kHeadsTogether; ++h) store_part(mine + h * kFloats, parts[h], lane_element);
  __syncthreads();
  const std::int64_t row = static_cast<std::int64_t>(rows.query_begin) * call.heads;
  for (int i = static_cast<int>(threadIdx.x); i < heads * kDim; i += kThreads) {
    const int h = i / kDim, head = first_head + h;
    const std::int64_t at = (static_cast<std::int64_t>(blockIdx.z) * gridDim.x + blockIdx.x) * call.heads + head;
    combine(stored + h * kFloats, kGroups, kHeadsTogether * kFloats, i % kDim,
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

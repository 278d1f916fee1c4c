#include <algorithm>

#include "kernels/cuda/hopper_attention.h"
#include "kernels/cuda/hopper_backward.cuh"
#include "kernels/cuda/hopper_forward.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/output_delta.h"
#include "kernels/cuda/packed_rows.cuh"
#include "kernels/cuda/paged_attention.h"
#include "kernels/cuda/paged_rows.cuh"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

template <int kDim>
__global__ void __launch_bounds__(kHopperThreads, 1) hopper_forward(AttentionForward<BFloat16> call, float scale) {
  if constexpr (kCompiledForHopper) {
    attend_packed<kDim>(call, first_query_of_block(kHopperRows),
                        [&](const auto& query, const auto& key, const auto& value, const auto& at, const auto& store) {
                          attend_by_warpgroups<kDim>(query, key, value, at, scale, store);
                        });
  } else {
    __trap();
  }
}

template <int kDim>
__global__ void __launch_bounds__(kHopperThreads, 1) hopper_prefill(PagedAttention<BFloat16> call, float scale) {
  if constexpr (kCompiledForHopper) {
    attend_paged<kDim>(call, static_cast<int>(blockIdx.z), first_query_of_block(kHopperRows),
                       [&](const auto& query, const auto& key, const auto& value, const ForwardTile& at) {
                         attend_by_warpgroups<kDim>(
                             query, key, value, at, scale, [&](auto tile, int warp_row, auto& softmax, auto& sums) {
                               store_output(at, paged_output<kDim>(call), tile, warp_row, softmax, sums);
                             });
                       });
  } else {
    __trap();
  }
}

template <int kDim>
__global__ void __launch_bounds__(kHopperThreads, 1) hopper_d_q(AttentionBackward<BFloat16> call, float scale) {
  if constexpr (kCompiledForHopper) {
    const AttentionRows rows = call.shape.rows[blockIdx.z];
    const int first = first_query_of_block(kHopperRows);
    if (first >= rows.queries) return;
    query_gradient_by_warpgroups<kDim>(rows_of_head<kDim>(call, rows, blockIdx.x, scale), first,
                                       d_q_of_head<kDim>(call, rows, blockIdx.x), call.d_q_stride);
  } else {
    __trap();
  }
}

// Where blocks would be few, the query heads of a key-value head are split over several, for the first keys of a
// sequence take twice the mean time. Each leaves its part of the gradients for add_parts().
struct KeyParts {
  int splits;     // of each key-value head's query heads
  float* memory;  // of keys: [splits][sequences][max_keys][kv_heads][head_dim], then of values; unused for one split

  __device__ std::int64_t offset(const AttentionShape& shape, int split, unsigned sequence) const {
    const std::int64_t row = (static_cast<std::int64_t>(split) * shape.sequences + sequence) * shape.max_keys;
    return row * shape.kv_heads * shape.head_dim;
  }
  __device__ const float* values(const AttentionShape& shape) const { return memory + offset(shape, splits, 0); }
};

constexpr std::int64_t kWantedKeyBlocks = 256;  // nearly two for each multiprocessor

int key_splits(const AttentionShape& shape) {
  const std::int64_t blocks = std::int64_t{blocks_for(shape.max_keys, kHopperRows)} * shape.kv_heads * shape.sequences;
  const int group = shape.heads / shape.kv_heads;
  int splits = 1;
  while (splits < group && (group % splits != 0 || blocks * splits < kWantedKeyBlocks)) ++splits;
  return splits;
}

// The most that key_splits() makes of blocks, whatever the lengths: with the splits of the size below there are fewer
// than are wanted.
std::int64_t most_split_blocks(const AttentionShape& shape) {
  const int group = shape.heads / shape.kv_heads;
  std::int64_t most = 0;
  for (int below = 1, splits = 2; splits <= group; ++splits) {
    if (group % splits != 0) continue;
    most = std::max(most, (kWantedKeyBlocks - 1) / below * splits);
    below = splits;
  }
  return most;
}

// Block: split x % splits of key-value head x / splits.
template <int kDim>
__global__ void __launch_bounds__(kHopperThreads, 1)
    hopper_d_k_d_v(AttentionBackward<BFloat16> call, float scale, KeyParts parts) {
  if constexpr (kCompiledForHopper) {
    const AttentionShape& shape = call.shape;
    const AttentionRows rows = shape.rows[blockIdx.z];
    const int first = static_cast<int>(blockIdx.y) * kHopperRows;
    if (first >= rows.keys) return;
    const int heads = shape.heads / shape.kv_heads / parts.splits;
    const auto rows_of = [&](int head) { return rows_of_head<kDim>(call, rows, blockIdx.x * heads + head, scale); };
    key_gradient_by_warpgroups<kDim>(rows_of, heads, first, [&]() -> KeyGradients {
      const unsigned kv_head = blockIdx.x / parts.splits;
      if (parts.splits == 1) return key_gradients_of<kDim>(call, shape.rows[blockIdx.z], kv_head);
      const std::int64_t offset = parts.offset(shape, static_cast<int>(blockIdx.x) % parts.splits, blockIdx.z);
      float* keys = parts.memory + offset + kv_head * kDim;
      return {keys, keys + parts.offset(shape, parts.splits, 0), static_cast<std::int64_t>(shape.kv_heads) * kDim,
              false};
    });
  } else {
    __trap();
  }
}

constexpr int kAddThreads = 256;

// Adds the parts of all splits to d_k and d_v, in their order. A thread for four elements of both.
__global__ void __launch_bounds__(kAddThreads) add_parts(AttentionBackward<BFloat16> call, KeyParts parts) {
  const AttentionShape& shape = call.shape;
  const AttentionRows rows = shape.rows[blockIdx.y];
  const std::int64_t width = static_cast<std::int64_t>(shape.kv_heads) * shape.head_dim;
  const std::int64_t element = global_thread() * 4;
  if (element >= rows.keys * width) return;
  const auto add = [&](float* to, const float* from) {
    float4 sum = *reinterpret_cast<const float4*>(to);
    for (int split = 0; split < parts.splits; ++split) {
      const float4 part = *reinterpret_cast<const float4*>(from + parts.offset(shape, split, blockIdx.y));
      sum = {sum.x + part.x, sum.y + part.y, sum.z + part.z, sum.w + part.w};
    }
    *reinterpret_cast<float4*>(to) = sum;
  };
  const std::int64_t at = rows.key_begin * width + element;
  add(call.d_k + at, parts.memory + element);
  add(call.d_v + at, parts.values(shape) + element);
}

template <typename Body>
void with_hopper_dim(int head_dim, const Body& body) {
  check(hopper_attention_takes(head_dim), "attention by warpgroups: size of heads");
  if (head_dim == 64) {
    body(std::integral_constant<int, 64>());
  } else {
    body(std::integral_constant<int, 128>());
  }
}

}  // namespace

bool hopper_attention_takes(int head_dim) { return head_dim == 64 || head_dim == 128; }

bool hopper_prefill_takes(const PagedAttention<BFloat16>& call) {
  return hopper_attention_takes(call.head_dim) && call.max_queries > kGroupRows && prefill_splits(call) == 1;
}

void hopper_prefill_attention(const PagedAttention<BFloat16>& call, Stream stream) {
  check_runs(call.q_stride | call.block_stride, "attention: strides of whole runs");
  with_hopper_dim(call.head_dim, [&](auto dim) {
    launch(hopper_prefill<dim>, packed_grid(call.heads, call.max_queries, kHopperRows, call.sequences),
           dim3(kHopperThreads), kHopperForwardBytes<dim>, stream, call, attention_scale(dim));
  });
}

void hopper_attention_forward(const AttentionForward<BFloat16>& call, Stream stream) {
  check_runs(call.q_stride | call.kv_stride, "attention: strides of whole runs");
  const AttentionShape& shape = call.shape;
  with_hopper_dim(shape.head_dim, [&](auto dim) {
    launch(hopper_forward<dim>, packed_grid(shape.heads, shape.max_queries, kHopperRows, shape.sequences),
           dim3(kHopperThreads), kHopperForwardBytes<dim>, stream, call, attention_scale(dim));
  });
}

std::int64_t hopper_attention_workspace(const AttentionBackward<BFloat16>& call) {
  const std::int64_t rows = most_split_blocks(call.shape) * kHopperRows;
  return 2 * rows * call.shape.head_dim * static_cast<std::int64_t>(sizeof(float));
}

void hopper_attention_backward(const AttentionBackward<BFloat16>& call, void* workspace, Stream stream) {
  check_runs(call.q_stride | call.kv_stride | call.d_q_stride, "attention: strides of whole runs");
  const AttentionShape& shape = call.shape;
  const KeyParts parts{key_splits(shape), static_cast<float*>(workspace)};
  output_delta(call, stream);
  with_hopper_dim(shape.head_dim, [&](auto dim) {
    const float scale = attention_scale(dim);
    launch(hopper_d_k_d_v<dim>,
           packed_grid(shape.kv_heads * parts.splits, shape.max_keys, kHopperRows, shape.sequences),
           dim3(kHopperThreads), kKeyGradientBytes<dim>, stream, call, scale, parts);
    launch(hopper_d_q<dim>, packed_grid(shape.heads, shape.max_queries, kHopperRows, shape.sequences),
           dim3(kHopperThreads), QueryGradientTiles<dim>::kBytes, stream, call, scale);
  });
  if (parts.splits == 1) return;
  const std::int64_t most = std::int64_t{shape.max_keys} * shape.kv_heads * shape.head_dim;
  launch(add_parts, dim3(blocks_for(most, kAddThreads * 4), static_cast<unsigned>(shape.sequences)), dim3(kAddThreads),
         0, stream, call, parts);
}

}  // namespace alchemist::cuda

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
  }
}

template <int kDim>
__global__ void __launch_bounds__(kHopperThreads, 1) hopper_d_k_d_v(AttentionBackward<BFloat16> call, float scale) {
  if constexpr (kCompiledForHopper) {
    with_key_rows<kDim>(call, kHopperRows, scale,
                        [](const auto&... arguments) { key_gradient_by_warpgroups<kDim>(arguments...); });
  }
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

void hopper_attention_backward(const AttentionBackward<BFloat16>& call, Stream stream) {
  check_runs(call.q_stride | call.kv_stride | call.d_q_stride, "attention: strides of whole runs");
  const AttentionShape& shape = call.shape;
  output_delta(call, stream);
  with_hopper_dim(shape.head_dim, [&](auto dim) {
    const float scale = attention_scale(dim);
    launch(hopper_d_k_d_v<dim>, packed_grid(shape.kv_heads, shape.max_keys, kHopperRows, shape.sequences),
           dim3(kHopperThreads), kKeyGradientBytes<dim>, stream, call, scale);
    launch(hopper_d_q<dim>, packed_grid(shape.heads, shape.max_queries, kHopperRows, shape.sequences),
           dim3(kHopperThreads), QueryGradientTiles<dim>::kBytes, stream, call, scale);
  });
}

}  // namespace alchemist::cuda

// Where the rows of packed sequences lie for a block of an attention kernel.
#pragma once

#include "kernels/attention.h"
#include "kernels/cuda/attention_backward.cuh"
#include "kernels/cuda/attention_forward.cuh"

namespace alchemist::cuda {

// The forward of the block's head blockIdx.x of its sequence blockIdx.z, queries `first` and the next ones:
// attend(query rows, key rows, value rows, where, store), with store as attend() of attention_forward.cuh takes it.
template <int kDim, typename Attend>
__device__ void attend_packed(const AttentionForward<BFloat16>& call, int first, const Attend& attend) {
  const AttentionShape& shape = call.shape;
  const AttentionRows rows = shape.rows[blockIdx.z];
  if (first >= rows.queries) return;
  const std::int64_t head = blockIdx.x;
  const std::int64_t kv_offset = rows.key_begin * call.kv_stride + head / (shape.heads / shape.kv_heads) * kDim;
  const auto* q = reinterpret_cast<const std::uint16_t*>(call.q) + rows.query_begin * call.q_stride + head * kDim;
  const ForwardTile at{first, rows.queries, rows.keys - rows.queries};
  attend(HeadRows{q, call.q_stride},
         HeadRows{reinterpret_cast<const std::uint16_t*>(call.k) + kv_offset, call.kv_stride},
         HeadRows{reinterpret_cast<const std::uint16_t*>(call.v) + kv_offset, call.kv_stride}, at,
         [&](auto tile, int warp_row, auto& softmax, auto& sums) {
           store_output(at, output_of<kDim>(call.out, call.lse, shape.rows[blockIdx.z].query_begin, shape.heads), tile,
                        warp_row, softmax, sums);
         });
}

template <int kDim>
__device__ BackwardRows rows_of_head(const AttentionBackward<BFloat16>& call, const AttentionRows& rows,
                                     std::int64_t head, float scale) {
  const AttentionShape& shape = call.shape;
  const std::int64_t kv_offset = rows.key_begin * call.kv_stride + head / (shape.heads / shape.kv_heads) * kDim;
  const std::int64_t out_stride = static_cast<std::int64_t>(shape.heads) * kDim;
  const std::int64_t scalar = static_cast<std::int64_t>(rows.query_begin) * shape.heads + head;
  const auto at = [](const BFloat16* p, std::int64_t offset, std::int64_t stride) {
    return HeadRows{reinterpret_cast<const std::uint16_t*>(p) + offset, stride};
  };
  return {at(call.q, rows.query_begin * call.q_stride + head * kDim, call.q_stride),
          at(call.k, kv_offset, call.kv_stride),
          at(call.v, kv_offset, call.kv_stride),
          at(call.d_out, rows.query_begin * out_stride + head * kDim, out_stride),
          call.lse + scalar,
          call.delta + scalar,
          shape.heads,
          scale,
          rows.queries,
          rows.keys};
}

// The gradient of the sequence's first query of a head.
template <int kDim>
__device__ std::uint16_t* d_q_of_head(const AttentionBackward<BFloat16>& call, const AttentionRows& rows,
                                      std::int64_t head) {
  return reinterpret_cast<std::uint16_t*>(call.d_q) + rows.query_begin * call.d_q_stride + head * kDim;
}

// Where the gradients of a sequence's first key and value of a head are in d_k and d_v.
template <int kDim>
__device__ KeyGradients key_gradients_of(const AttentionBackward<BFloat16>& call, const AttentionRows& rows,
                                         std::int64_t kv_head) {
  const std::int64_t stride = static_cast<std::int64_t>(call.shape.kv_heads) * kDim;
  const std::int64_t offset = rows.key_begin * stride + kv_head * kDim;
  return {call.d_k + offset, call.d_v + offset, stride};
}

// Blocks of a kernel over `rows_of_block` rows of each head of each sequence.
inline dim3 packed_grid(int heads, int most_rows, int rows_of_block, int sequences) {
  return dim3(static_cast<unsigned>(heads), blocks_for(most_rows, rows_of_block), static_cast<unsigned>(sequences));
}

}  // namespace alchemist::cuda

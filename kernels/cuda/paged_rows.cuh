// Where the rows of chunks of prompts, and the pages of the keys in front of them, lie for a block of a kernel.
#pragma once

#include "kernels/cuda/attention_forward.cuh"
#include "kernels/paged_attention.h"

namespace alchemist::cuda {

// The block's head blockIdx.x of a sequence, queries `first` and the next ones: attend(query rows, key rows, value
// rows, where).
template <int kDim, typename Attend>
__device__ void attend_paged(const PagedAttention<BFloat16>& call, int sequence, int first, const Attend& attend) {
  const PagedRows rows = call.rows[sequence];
  if (first >= rows.queries) return;
  const std::int64_t head = blockIdx.x;
  const std::int64_t kv_offset = head / (call.heads / call.kv_heads) * kDim;
  const std::int64_t kv_stride = static_cast<std::int64_t>(call.kv_heads) * kDim;
  const auto cache = [&](const BFloat16* layer) {
    return PagedHeadRows{reinterpret_cast<const std::uint16_t*>(layer) + kv_offset,
                         call.block_tables + rows.table_begin, kv_stride, call.block_stride, call.block_size};
  };
  const auto* q = reinterpret_cast<const std::uint16_t*>(call.q) + rows.query_begin * call.q_stride + head * kDim;
  attend(HeadRows{q, call.q_stride}, cache(call.k_cache), cache(call.v_cache),
         ForwardTile{first, rows.queries, rows.keys - rows.queries});
}

// Of the block's head of its sequence blockIdx.z.
template <int kDim>
__device__ ForwardOutput paged_output(const PagedAttention<BFloat16>& call) {
  return output_of<kDim>(call.out, call.lse, call.rows[blockIdx.z].query_begin, call.heads);
}

}  // namespace alchemist::cuda

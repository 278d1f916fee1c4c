#include <algorithm>

#include "kernels/cuda/attention_parts.cuh"
#include "kernels/cuda/dispatch.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/paged_attention.h"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

// Block: head x, query y of sequence z; a thread for each element.
template <int kDim>
__global__ void __launch_bounds__(kDim) combine_splits(PagedAttention<BFloat16> call, const float* parts, int splits) {
  constexpr int kFloats = kPartFloats<kDim>;
  const PagedRows rows = call.rows[blockIdx.z];
  const auto query = static_cast<int>(blockIdx.y);
  if (query >= rows.queries) return;
  const std::int64_t head = blockIdx.x;
  const std::int64_t row = static_cast<std::int64_t>(rows.query_begin + query) * call.heads + head;
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.z) * splits * call.max_queries + query) * call.heads;
  combine(parts + (first + head) * kFloats, splits, static_cast<std::int64_t>(call.max_queries) * call.heads * kFloats,
          static_cast<int>(threadIdx.x), reinterpret_cast<std::uint16_t*>(call.out) + row * kDim,
          call.lse == nullptr ? nullptr : call.lse + row, nullptr);
}

int splits_of(const PagedAttention<BFloat16>& call) {
  return call.max_queries > 1 ? prefill_splits(call) : decode_splits(call);
}

}  // namespace

void paged_attention(const PagedAttention<BFloat16>& call, void* workspace, Stream stream) {
  check_runs(call.q_stride | call.block_stride, "attention: strides of whole runs");
  const int splits = splits_of(call);
  auto* parts = static_cast<float*>(workspace);
  (call.max_queries > 1 ? prefill_attention : decode_attention)(call, splits, parts, stream);
  if (splits == 1) return;
  with_head_dim(call.head_dim, [&](auto dim) {
    launch(combine_splits<dim>,
           dim3(static_cast<unsigned>(call.heads), static_cast<unsigned>(call.max_queries),
                static_cast<unsigned>(call.sequences)),
           dim3(dim), 0, stream, call, parts, splits);
  });
}

std::int64_t paged_attention_workspace(const PagedAttention<BFloat16>& call) {
  const std::int64_t parts = std::max(decode_parts(call), prefill_parts());
  return parts * (call.head_dim + 2) * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace alchemist::cuda

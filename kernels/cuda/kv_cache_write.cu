#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/paged_attention.h"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 128;

__global__ void write_cache(KvCacheWrite<BFloat16> call) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * kRun;
  if (column >= call.width) return;
  const std::int64_t from = blockIdx.x * call.row_stride + column;
  // Both before either is stored: for all that the compiler knows the cache may be what is read next.
  const uint4 k = *reinterpret_cast<const uint4*>(call.k + from), v = *reinterpret_cast<const uint4*>(call.v + from);
  const std::int64_t slot = call.slots[blockIdx.x];
  const std::int64_t to = slot / call.block_size * call.block_stride + slot % call.block_size * call.width + column;
  store_words(call.k_cache + to, k);
  store_words(call.v_cache + to, v);
}

}  // namespace

void kv_cache_write(const KvCacheWrite<BFloat16>& call, Stream stream) {
  check_runs(call.width | call.row_stride | call.block_stride, "KV cache: strides of whole runs");
  launch(write_cache, dim3(static_cast<unsigned>(call.tokens), blocks_for(call.width / kRun, kThreads)), dim3(kThreads),
         0, stream, call);
}

}  // namespace alchemist::cuda

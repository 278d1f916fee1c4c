// Serving's attention over a KV cache in blocks, and the write into it. A block holds `block_size` tokens of one
// sequence; a page of device memory holds one block of every layer, so that blocks of one layer are `block_stride`
// elements apart:
//   keys of token t, layer l:  k_cache[block_table[t / block_size] * block_stride + (t % block_size) * kv_heads *
//   head_dim + ...]
// with k_cache and v_cache pointing at layer l in page 0.
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"
#include "sim/base/operator_work.h"

namespace alchemist {

// Keys (rotated) and values of new tokens into their slots: block * block_size + place in the block.
template <class T>
struct KvCacheWrite {
  const T* k;  // [tokens, kv_heads * head_dim], rows `row_stride` elements apart
  const T* v;  // as k
  T* k_cache;
  T* v_cache;
  const std::int64_t* slots;  // [tokens], in device memory
  std::int64_t tokens;
  std::int64_t width;  // kv_heads * head_dim
  std::int64_t row_stride;
  std::int64_t block_size;
  std::int64_t block_stride;
};

// One sequence of a step. Its new keys and values have been written to the cache already.
struct PagedRows {
  std::int32_t query_begin = 0;  // first row in q, out and lse
  std::int32_t queries = 0;      // >= 1; query i attends to the keys 0 .. keys - queries + i
  std::int32_t keys = 0;         // tokens in the cache, the new ones included
  std::int32_t table_begin = 0;  // first entry of its block table in `block_tables`
};

// As AttentionForward, with keys and values in blocks. Serves prefill chunks with cached context (queries > 1) and
// decodes (queries = 1 in all sequences, `max_queries` says so).
template <class T>
struct PagedAttention {
  const T* q;  // [rows, heads, head_dim], rows `q_stride` elements apart
  const T* k_cache;
  const T* v_cache;
  T* out;                            // [rows, heads, head_dim], contiguous
  Accumulator<T>* lse;               // [rows, heads], or null where nothing is recorded
  const PagedRows* rows;             // [sequences], in device memory
  const std::int32_t* block_tables;  // block ids of all sequences, in device memory
  std::int32_t sequences;
  std::int32_t max_queries;
  std::int32_t max_keys;
  std::int32_t heads;
  std::int32_t kv_heads;
  std::int32_t head_dim;
  std::int32_t block_size;
  std::int64_t q_stride;
  std::int64_t block_stride;
};

template <class T>
CallCost cost(const KvCacheWrite<T>& call) {
  return {0, static_cast<double>(4 * call.tokens * call.width) * sizeof(T)};
}
// See AttentionForward's.
template <class T>
CallCost cost(const PagedAttention<T>& call, double queries, double keys, double attended_keys) {
  const Work work = attention_work(call.heads, call.head_dim);
  const double q_bytes = static_cast<double>(call.heads * call.head_dim) * sizeof(T);
  const double kv_bytes = static_cast<double>(call.kv_heads * call.head_dim) * sizeof(T);
  return {attended_keys * (work.matrix_flops_per_key + work.vector_flops_per_key),
          queries * 2 * q_bytes + keys * 2 * kv_bytes};
}

namespace cpu {
template <class T>
void kv_cache_write(const KvCacheWrite<T>& call);
template <class T>
void paged_attention(const PagedAttention<T>& call);
}  // namespace cpu

namespace cuda {
void kv_cache_write(const KvCacheWrite<BFloat16>& call, Stream stream);
// `workspace`: paged_attention_workspace() bytes of device memory, where the parts of sequences are put together whose
// keys are split over thread blocks. They are the same for all calls of a model, some of which need none: memory that
// grew with the context would move, and steps that were captured with it would have to be captured anew.
void paged_attention(const PagedAttention<BFloat16>& call, void* workspace, Stream stream);
std::int64_t paged_attention_workspace(const PagedAttention<BFloat16>& call);
}  // namespace cuda

}  // namespace alchemist

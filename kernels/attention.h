// Causal grouped-query attention over packed sequences of several lengths, as training runs it: keys and values lie in
// rows beside each other. paged_attention.h is the same over the blocks of serving's KV cache.
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"
#include "sim/base/operator_work.h"

namespace alchemist {

// One run of queries and the keys in front of them. The last query stands at the last key: query i of the run attends
// to the keys 0 .. keys - queries + i of the sequence.
struct AttentionRows {
  std::int32_t query_begin = 0;  // first row of the run in q, out, lse and their gradients
  std::int32_t queries = 0;      // >= 1
  std::int32_t key_begin = 0;    // first row of the sequence in k, v and their gradients
  std::int32_t keys = 0;         // >= queries
};

// What forward and backward share. Head h reads the keys and values of head h / (heads / kv_heads).
struct AttentionShape {
  std::int32_t heads = 0;
  std::int32_t kv_heads = 0;
  std::int32_t head_dim = 0;
  const AttentionRows* rows = nullptr;  // [sequences], in device memory
  std::int32_t sequences = 0;
  std::int32_t max_queries = 0;  // of any sequence
  std::int32_t max_keys = 0;
};

//   p = softmax_keys(q k^T / sqrt(head_dim))
//   out = p v;  lse = log(sum_keys(exp(q k^T / sqrt(head_dim))))
template <class T>
struct AttentionForward {
  AttentionShape shape;
  const T* q;           // [rows, heads, head_dim], rows `q_stride` elements apart
  const T* k;           // [rows, kv_heads, head_dim], rows `kv_stride` elements apart
  const T* v;           // as k
  T* out;               // [rows, heads, head_dim], contiguous
  Accumulator<T>* lse;  // [rows, heads]
  std::int64_t q_stride;
  std::int64_t kv_stride;
};

//   delta = sum_d(d_out * out)
//   d_v += p^T d_out;  d_s = p * (d_out v^T - delta)
//   d_q = d_s k / sqrt(head_dim);  d_k += d_s^T q / sqrt(head_dim)
// d_q is overwritten for the rows of queries; d_k and d_v are added to, so that the queries of a sequence may come in
// several calls, last ones first: once all queries from row r on have come, row r of d_k and d_v is complete.
// The sequences of one call share no rows.
template <class T>
struct AttentionBackward {
  AttentionShape shape;
  const T* q;
  const T* k;
  const T* v;
  const T* out;
  const Accumulator<T>* lse;
  const T* d_out;         // [rows, heads, head_dim], contiguous
  Accumulator<T>* delta;  // [rows, heads]: scratch
  T* d_q;                 // [rows, heads, head_dim], rows `d_q_stride` elements apart
  Accumulator<T>* d_k;    // [rows, kv_heads, head_dim], contiguous
  Accumulator<T>* d_v;    // as d_k
  std::int64_t q_stride;
  std::int64_t kv_stride;
  std::int64_t d_q_stride;
};

// Of queries that attend to `attended_keys` keys in sum (Work's definition), in sequences of `keys` keys in sum.
template <class T>
CallCost cost(const AttentionForward<T>& call, double queries, double keys, double attended_keys) {
  const AttentionShape& s = call.shape;
  const Work work = attention_work(s.heads, s.head_dim);
  const double q_bytes = static_cast<double>(s.heads * s.head_dim) * sizeof(T);
  const double kv_bytes = static_cast<double>(s.kv_heads * s.head_dim) * sizeof(T);
  return {attended_keys * (work.matrix_flops_per_key + work.vector_flops_per_key),
          queries * (2 * q_bytes + s.heads * sizeof(Accumulator<T>)) + keys * 2 * kv_bytes};
}
template <class T>
CallCost cost(const AttentionBackward<T>& call, double queries, double keys, double attended_keys) {
  const AttentionShape& s = call.shape;
  const Work work = attention_gradient_work(s.heads, s.head_dim);
  const double q_bytes = static_cast<double>(s.heads * s.head_dim) * sizeof(T);
  const double kv_elements = static_cast<double>(s.kv_heads * s.head_dim);
  return {
      attended_keys * (work.matrix_flops_per_key + work.vector_flops_per_key) + queries * work.vector_flops_per_token,
      queries * (4 * q_bytes + s.heads * sizeof(Accumulator<T>)) +
          keys * 2 * kv_elements * (sizeof(T) + 2 * sizeof(Accumulator<T>))};
}

namespace cpu {
template <class T>
void attention_forward(const AttentionForward<T>& call);
template <class T>
void attention_backward(const AttentionBackward<T>& call);
}  // namespace cpu

namespace cuda {
void attention_forward(const AttentionForward<BFloat16>& call, Stream stream);
void attention_backward(const AttentionBackward<BFloat16>& call, Stream stream);
}  // namespace cuda

}  // namespace alchemist

#include "kernels/paged_attention.h"

#include "kernels/cpu/attention_tile.h"

namespace alchemist::cpu {
namespace {

// Calls visit(j, row of key j) for the keys, or values, of one head of one sequence, block by block.
template <class T, class Visit>
void for_each_key(const PagedAttention<T>& call, const PagedRows& rows, const T* cache, std::int64_t kv_head,
                  const Visit& visit) {
  const std::int64_t dim = call.head_dim, width = call.kv_heads * dim;
  for (std::int64_t first = 0; first < rows.keys; first += call.block_size) {
    const T* block = cache + call.block_tables[rows.table_begin + first / call.block_size] * call.block_stride;
    const std::int64_t count = std::min<std::int64_t>(call.block_size, rows.keys - first);
    for (std::int64_t t = 0; t < count; ++t) visit(first + t, block + t * width + kv_head * dim);
  }
}

// One row behind the other.
template <class T>
void gather_head(const PagedAttention<T>& call, const PagedRows& rows, const T* cache, std::int64_t kv_head,
                 std::vector<T>& to) {
  const std::int64_t dim = call.head_dim;
  to.resize(static_cast<std::size_t>(rows.keys * dim));
  for_each_key(call, rows, cache, kv_head,
               [&](std::int64_t j, const T* row) { std::copy_n(row, dim, to.data() + j * dim); });
}

// One query of each head that shares `kv_head`, over keys and values where they lie: a product of a single row is
// mostly reading them, and the matrix product would want them gathered and the row padded.
template <class T>
void decode_group(const PagedAttention<T>& call, const PagedRows& rows, std::int64_t kv_head, std::vector<T>& scores) {
  const std::int64_t dim = call.head_dim, heads = call.heads, group = heads / call.kv_heads, keys = rows.keys;
  const std::int64_t first_head = kv_head * group;
  const T scale = 1 / std::sqrt(static_cast<T>(dim));
  scores.resize(static_cast<std::size_t>(group * keys));
  const T* q = call.q + rows.query_begin * call.q_stride + first_head * dim;
  for_each_key(call, rows, call.k_cache, kv_head, [&](std::int64_t j, const T* k) {
    for (std::int64_t h = 0; h < group; ++h) {
      scores[h * keys + j] = scale * row_sum<T>(dim, [=](std::int64_t i) { return q[h * dim + i] * k[i]; });
    }
  });
  T* out = call.out + (rows.query_begin * heads + first_head) * dim;
  T* lse = call.lse ? call.lse + rows.query_begin * heads + first_head : nullptr;
  for (std::int64_t h = 0; h < group; ++h) {
    const T log_sum = softmax_row(scores.data() + h * keys, keys);
    if (lse) lse[h] = log_sum;
  }
  std::fill_n(out, group * dim, T(0));
  for_each_key(call, rows, call.v_cache, kv_head, [&](std::int64_t j, const T* v) {
    for (std::int64_t h = 0; h < group; ++h) {
      const T p = scores[h * keys + j];
      for (std::int64_t i = 0; i < dim; ++i) out[h * dim + i] += p * v[i];
    }
  });
}

}  // namespace

template <class T>
void kv_cache_write(const KvCacheWrite<T>& call) {
  for (std::int64_t i = 0; i < call.tokens; ++i) {
    const std::int64_t block = call.slots[i] / call.block_size, place = call.slots[i] % call.block_size;
    const std::int64_t to = block * call.block_stride + place * call.width;
    std::copy_n(call.k + i * call.row_stride, call.width, call.k_cache + to);
    std::copy_n(call.v + i * call.row_stride, call.width, call.v_cache + to);
  }
}

template <class T>
void paged_attention(const PagedAttention<T>& call) {
  const std::int64_t dim = call.head_dim, heads = call.heads, group = heads / call.kv_heads;
  std::vector<T> keys, values, scores;
  for (std::int32_t s = 0; s < call.sequences; ++s) {
    const PagedRows& rows = call.rows[s];
    for (std::int64_t kv_head = 0; kv_head < call.kv_heads; ++kv_head) {
      if (rows.queries == 1) {
        decode_group(call, rows, kv_head, scores);
        continue;
      }
      gather_head(call, rows, call.k_cache, kv_head, keys);
      gather_head(call, rows, call.v_cache, kv_head, values);
      for (std::int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
        for (std::int64_t first = 0; first < rows.queries; first += kQueryTile) {
          const std::int64_t row = rows.query_begin + first;
          attend_tile<T>(
              {call.q + row * call.q_stride + h * dim, call.q_stride}, {keys.data(), dim}, {values.data(), dim},
              {call.out + (row * heads + h) * dim, heads * dim}, call.lse ? call.lse + row * heads + h : nullptr, heads,
              std::min<std::int64_t>(kQueryTile, rows.queries - first), rows.keys - rows.queries + first, dim, scores);
        }
      }
    }
  }
}

template void kv_cache_write(const KvCacheWrite<float>&);
template void kv_cache_write(const KvCacheWrite<double>&);
template void paged_attention(const PagedAttention<float>&);
template void paged_attention(const PagedAttention<double>&);

}  // namespace alchemist::cpu

// Attention of a tile of queries over the keys of one head, which packed and paged attention share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/cpu/exponential.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/row_sum.h"

namespace alchemist::cpu {

inline constexpr std::int64_t kQueryTile = 64;  // the scores of a tile over a few thousand keys stay in the L2 cache

// Rows of one head: row r begins at data + r * stride and has head_dim elements.
template <class T>
struct HeadRows {
  T* data = nullptr;
  std::int64_t stride = 0;
  T* row(std::int64_t r) const { return data + r * stride; }
};

// scores[i, j] = q_i k_j / sqrt(head_dim) for the keys that the last query of the tile sees; returns their number.
// Query i sees the keys j <= first_key + i.
template <class T>
std::int64_t score_tile(HeadRows<const T> q, HeadRows<const T> k, std::int64_t queries, std::int64_t first_key,
                        std::int64_t head_dim, std::vector<T>& scores) {
  const std::int64_t keys = first_key + queries;
  if (static_cast<std::int64_t>(scores.size()) < queries * keys) {
    scores.resize(static_cast<std::size_t>(queries * keys));
  }
  product<T>({.transpose_b = true,
              .m = queries,
              .n = keys,
              .k = head_dim,
              .alpha = 1 / std::sqrt(static_cast<T>(head_dim)),
              .a = q.data,
              .a_stride = q.stride,
              .b = k.data,
              .b_stride = k.stride,
              .c = scores.data(),
              .c_stride = keys});
  return keys;
}

// row <- softmax of row[0 .. keys); returns the logarithm of the sum of the exponentials.
template <class T>
T softmax_row(T* row, std::int64_t keys) {
  const T highest = row_max(keys, row);
  for (std::int64_t j = 0; j < keys; ++j) row[j] = exponential(row[j] - highest);
  const T sum = row_sum<T>(keys, [row](std::int64_t j) { return row[j]; });
  const T inverse = 1 / sum;
  for (std::int64_t j = 0; j < keys; ++j) row[j] *= inverse;
  return highest + std::log(sum);
}

// out_i = softmax over the keys that query i sees, times v. lse may be null; its elements are `lse_stride` apart.
template <class T>
void attend_tile(HeadRows<const T> q, HeadRows<const T> k, HeadRows<const T> v, HeadRows<T> out, T* lse,
                 std::int64_t lse_stride, std::int64_t queries, std::int64_t first_key, std::int64_t head_dim,
                 std::vector<T>& scores) {
  const std::int64_t keys = score_tile(q, k, queries, first_key, head_dim, scores);
  for (std::int64_t i = 0; i < queries; ++i) {
    T* row = scores.data() + i * keys;
    const std::int64_t seen = first_key + i + 1;
    const T log_sum = softmax_row(row, seen);
    std::fill(row + seen, row + keys, T(0));
    if (lse) lse[i * lse_stride] = log_sum;
  }
  product<T>({.m = queries,
              .n = head_dim,
              .k = keys,
              .a = scores.data(),
              .a_stride = keys,
              .b = v.data,
              .b_stride = v.stride,
              .c = out.data,
              .c_stride = out.stride});
}

}  // namespace alchemist::cpu

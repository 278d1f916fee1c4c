#include "kernels/attention.h"

#include "kernels/cpu/attention_tile.h"

namespace alchemist::cpu {
namespace {

// Calls visit(rows of the tile's first query, queries, first key seen by the first query beyond those before) for each
// tile of a run.
template <class Visit>
void for_each_tile(const AttentionRows& rows, const Visit& visit) {
  for (std::int64_t first = 0; first < rows.queries; first += kQueryTile) {
    const std::int64_t queries = std::min<std::int64_t>(kQueryTile, rows.queries - first);
    visit(rows.query_begin + first, queries, rows.keys - rows.queries + first);
  }
}

}  // namespace

template <class T>
void attention_forward(const AttentionForward<T>& call) {
  const AttentionShape& shape = call.shape;
  const std::int64_t dim = shape.head_dim, heads = shape.heads, group = heads / shape.kv_heads;
  std::vector<T> scores;
  for (std::int32_t s = 0; s < shape.sequences; ++s) {
    const AttentionRows& rows = shape.rows[s];
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t kv = rows.key_begin * call.kv_stride + h / group * dim;
      for_each_tile(rows, [&](std::int64_t row, std::int64_t queries, std::int64_t first_key) {
        attend_tile<T>({call.q + row * call.q_stride + h * dim, call.q_stride}, {call.k + kv, call.kv_stride},
                       {call.v + kv, call.kv_stride}, {call.out + (row * heads + h) * dim, heads * dim},
                       call.lse + row * heads + h, heads, queries, first_key, dim, scores);
      });
    }
  }
}

namespace {

// Backward of one head's tile. `p` and `d_p` are scratch.
template <class T>
class TileBackward {
 public:
  explicit TileBackward(const AttentionBackward<T>& call) : call_(call) {}

  void run(std::int64_t head, std::int64_t key_begin, std::int64_t row, std::int64_t queries, std::int64_t first_key) {
    const AttentionShape& shape = call_.shape;
    const std::int64_t dim = shape.head_dim, heads = shape.heads, kv_head = head / (heads / shape.kv_heads);
    const HeadRows<const T> q{call_.q + row * call_.q_stride + head * dim, call_.q_stride};
    const std::int64_t kv = key_begin * call_.kv_stride + kv_head * dim;
    const HeadRows<const T> k{call_.k + kv, call_.kv_stride};
    const HeadRows<const T> v{call_.v + kv, call_.kv_stride};
    const HeadRows<const T> out{call_.out + (row * heads + head) * dim, heads * dim};
    const HeadRows<const T> d_out{call_.d_out + (row * heads + head) * dim, heads * dim};
    const std::int64_t keys = score_tile(q, k, queries, first_key, dim, p_);
    d_p_.resize(p_.size());
    product<T>({.transpose_b = true,
                .m = queries,
                .n = keys,
                .k = dim,
                .a = d_out.data,
                .a_stride = d_out.stride,
                .b = v.data,
                .b_stride = v.stride,
                .c = d_p_.data(),
                .c_stride = keys});
    for (std::int64_t i = 0; i < queries; ++i) {
      const T* o = out.row(i);
      const T* d_o = d_out.row(i);
      const std::int64_t index = (row + i) * heads + head;
      call_.delta[index] = row_sum<T>(dim, [=](std::int64_t j) { return o[j] * d_o[j]; });
      softmax_row(i, keys, first_key + i + 1, call_.lse[index], call_.delta[index]);
    }
    accumulate(q, k, d_out, row, head, key_begin, queries, keys);
  }

 private:
  // p <- probabilities, d_p <- d scores; both 0 for the keys that the query does not see.
  void softmax_row(std::int64_t i, std::int64_t keys, std::int64_t seen, T lse, T delta) {
    T* p = p_.data() + i * keys;
    T* d = d_p_.data() + i * keys;
    for (std::int64_t j = 0; j < seen; ++j) {
      p[j] = exponential(p[j] - lse);
      d[j] = p[j] * (d[j] - delta);
    }
    std::fill(p + seen, p + keys, T(0));
    std::fill(d + seen, d + keys, T(0));
  }

  void accumulate(HeadRows<const T> q, HeadRows<const T> k, HeadRows<const T> d_out, std::int64_t row,
                  std::int64_t head, std::int64_t key_begin, std::int64_t queries, std::int64_t keys) {
    const AttentionShape& shape = call_.shape;
    const std::int64_t dim = shape.head_dim, kv_head = head / (shape.heads / shape.kv_heads);
    const std::int64_t kv_width = shape.kv_heads * dim, kv = key_begin * kv_width + kv_head * dim;
    const T scale = 1 / std::sqrt(static_cast<T>(dim));
    product<T>({.m = queries,
                .n = dim,
                .k = keys,
                .alpha = scale,
                .a = d_p_.data(),
                .a_stride = keys,
                .b = k.data,
                .b_stride = k.stride,
                .c = call_.d_q + row * call_.d_q_stride + head * dim,
                .c_stride = call_.d_q_stride});
    product<T>({.transpose_a = true,
                .m = keys,
                .n = dim,
                .k = queries,
                .alpha = scale,
                .a = d_p_.data(),
                .a_stride = keys,
                .b = q.data,
                .b_stride = q.stride,
                .beta = 1,
                .c = call_.d_k + kv,
                .c_stride = kv_width});
    product<T>({.transpose_a = true,
                .m = keys,
                .n = dim,
                .k = queries,
                .a = p_.data(),
                .a_stride = keys,
                .b = d_out.data,
                .b_stride = d_out.stride,
                .beta = 1,
                .c = call_.d_v + kv,
                .c_stride = kv_width});
  }

  const AttentionBackward<T>& call_;
  std::vector<T> p_, d_p_;
};

}  // namespace

template <class T>
void attention_backward(const AttentionBackward<T>& call) {
  TileBackward<T> tile(call);
  for (std::int32_t s = 0; s < call.shape.sequences; ++s) {
    const AttentionRows& rows = call.shape.rows[s];
    for (std::int64_t h = 0; h < call.shape.heads; ++h) {
      for_each_tile(rows, [&](std::int64_t row, std::int64_t queries, std::int64_t first_key) {
        tile.run(h, rows.key_begin, row, queries, first_key);
      });
    }
  }
}

template void attention_forward(const AttentionForward<float>&);
template void attention_forward(const AttentionForward<double>&);
template void attention_backward(const AttentionBackward<float>&);
template void attention_backward(const AttentionBackward<double>&);

}  // namespace alchemist::cpu

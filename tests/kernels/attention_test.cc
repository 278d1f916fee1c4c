#include "kernels/attention.h"

#include <algorithm>
#include <numeric>

#include "kernels/paged_attention.h"
#include "tests/kernels/attention_cases.h"
#include "tests/kernels/support.h"

namespace alchemist {
namespace {

template <class T>
struct Operands {
  AttentionCase shape;
  std::vector<AttentionRows> rows;
  std::int64_t queries, keys, q_stride, kv_stride;
  std::vector<T> q, k, v, out, lse;

  explicit Operands(const AttentionCase& c) : shape(c), rows(packed_rows(c)) {
    queries = rows.back().query_begin + rows.back().queries;
    keys = rows.back().key_begin + rows.back().keys;
    q_stride = c.heads * c.head_dim + 3;  // something lies between the rows
    kv_stride = c.kv_heads * c.head_dim + 5;
    q = random_values<T>(queries * q_stride, "q");
    k = random_values<T>(keys * kv_stride, "k");
    v = random_values<T>(keys * kv_stride, "v");
    out.resize(static_cast<std::size_t>(queries * c.heads * c.head_dim));
    lse.resize(static_cast<std::size_t>(queries * c.heads));
  }
  AttentionShape attention_shape(const std::vector<AttentionRows>& which) const {
    return {shape.heads, shape.kv_heads, shape.head_dim, which.data(), static_cast<std::int32_t>(which.size()), 0, 0};
  }
  void forward() {
    cpu::attention_forward<T>(
        {attention_shape(rows), q.data(), k.data(), v.data(), out.data(), lse.data(), q_stride, kv_stride});
  }
};

// The definition, with neither tiles nor a running maximum, in long double. A value of one key at a time is the weight
// of that key, so this also checks the mask: keys that a query must not see are never read.
template <class T>
void expect_definition(const Operands<T>& o, double tolerance) {
  const std::int32_t dim = o.shape.head_dim, group = o.shape.heads / o.shape.kv_heads;
  for (const AttentionRows& r : o.rows) {
    for (std::int32_t i = 0; i < r.queries; ++i) {
      for (std::int32_t h = 0; h < o.shape.heads; ++h) {
        const T* q = o.q.data() + (r.query_begin + i) * o.q_stride + h * dim;
        long double sum = 0;
        std::vector<long double> mean(static_cast<std::size_t>(dim));
        for (std::int32_t j = 0; j <= r.keys - r.queries + i; ++j) {
          const std::int64_t at = (r.key_begin + j) * o.kv_stride + h / group * dim;
          const long double dot = std::inner_product(q, q + dim, o.k.data() + at, 0.0L);
          const long double weight = std::exp(dot / std::sqrt(static_cast<long double>(dim)));
          sum += weight;
          for (std::int32_t d = 0; d < dim; ++d)
            mean[static_cast<std::size_t>(d)] += weight * o.v[static_cast<std::size_t>(at + d)];
        }
        const std::int64_t row = (r.query_begin + i) * o.shape.heads + h;
        ASSERT_NEAR(o.lse[static_cast<std::size_t>(row)], std::log(sum), tolerance);
        for (std::int32_t d = 0; d < dim; ++d) {
          ASSERT_NEAR(o.out[static_cast<std::size_t>(row * dim + d)], mean[static_cast<std::size_t>(d)] / sum,
                      tolerance);
        }
      }
    }
  }
}

class Attention : public testing::TestWithParam<AttentionCase> {};
INSTANTIATE_TEST_SUITE_P(Shapes, Attention, testing::ValuesIn(attention_cases()),
                         [](const auto& shape) { return shape.param.name; });

TEST_P(Attention, ForwardIsTheDefinition) {
  Operands<double> exact(GetParam());
  exact.forward();
  expect_definition(exact, 1e-13);
  Operands<float> fast(GetParam());
  fast.forward();
  expect_definition(fast, 2e-6);  // float has 6e-8; the exponential 1.2e-7; sums over 75 keys
}

TEST_P(Attention, BackwardIsTheGradient) {
  Operands<double> o(GetParam());
  o.forward();
  const std::int64_t width = o.shape.heads * o.shape.head_dim, kv_width = o.shape.kv_heads * o.shape.head_dim;
  const auto d_out = random_values<double>(o.queries * width, "d_out");
  std::vector<double> delta(o.lse.size()), d_q(o.q.size(), 0.0);
  std::vector<double> d_k(static_cast<std::size_t>(o.keys * kv_width), 1.0), d_v = d_k;
  AttentionBackward<double> call{o.attention_shape(o.rows),
                                 o.q.data(),
                                 o.k.data(),
                                 o.v.data(),
                                 o.out.data(),
                                 o.lse.data(),
                                 d_out.data(),
                                 delta.data(),
                                 d_q.data(),
                                 d_k.data(),
                                 d_v.data(),
                                 o.q_stride,
                                 o.kv_stride,
                                 o.q_stride};
  cpu::attention_backward(call);
  const auto objective = [&] {
    o.forward();
    return weighted_sum(o.out, d_out);
  };
  // The gradients of what lies between the rows are zero; d_k and d_v were added to.
  const auto spread = [&](const std::vector<double>& d) {
    std::vector<double> wide(o.k.size(), 0.0);
    for (std::int64_t r = 0; r < o.keys; ++r) {
      for (std::int64_t j = 0; j < kv_width; ++j) {
        wide[static_cast<std::size_t>(r * o.kv_stride + j)] = d[static_cast<std::size_t>(r * kv_width + j)] - 1;
      }
    }
    return wide;
  };
  expect_gradient(o.q, d_q, objective, "d_q");
  expect_gradient(o.k, spread(d_k), objective, "d_k");
  expect_gradient(o.v, spread(d_v), objective, "d_v");

  // The queries of each sequence in two calls, the last ones first.
  std::vector<double> part_q(o.q.size(), 0.0), part_k(d_k.size(), 1.0), part_v(d_v.size(), 1.0);
  call.d_q = part_q.data();
  call.d_k = part_k.data();
  call.d_v = part_v.data();
  std::vector<AttentionRows> last, first;
  for (const AttentionRows& r : o.rows) {
    const std::int32_t behind = (r.queries + 1) / 2, front = r.queries - behind;
    last.push_back({r.query_begin + front, behind, r.key_begin, r.keys});
    if (front > 0) first.push_back({r.query_begin, front, r.key_begin, r.keys - behind});
  }
  for (const auto* part : {&last, &first}) {
    call.shape = o.attention_shape(*part);
    cpu::attention_backward(call);
  }
  expect_near(part_q, d_q, 1e-12, "d_q in parts");
  expect_near(part_k, d_k, 1e-12, "d_k in parts");
  expect_near(part_v, d_v, 1e-12, "d_v in parts");
}

// The same keys and values in blocks of three tokens, in pages of another order that hold other layers too.
TEST_P(Attention, PagedIsPacked) {
  Operands<double> o(GetParam());
  o.forward();
  const std::int32_t block = 3;
  const std::int64_t kv_width = o.shape.kv_heads * o.shape.head_dim, block_stride = 4 * block * kv_width;
  std::vector<PagedRows> rows;
  std::vector<std::int32_t> tables;
  std::vector<std::int64_t> slots;
  std::int32_t blocks = 0;
  for (const AttentionRows& r : o.rows) blocks += (r.keys + block - 1) / block;
  std::int32_t next = blocks;
  for (const AttentionRows& r : o.rows) {
    rows.push_back({r.query_begin, r.queries, r.keys, static_cast<std::int32_t>(tables.size())});
    for (std::int32_t t = 0; t < r.keys; ++t) {
      if (t % block == 0) tables.push_back(--next);
      slots.push_back(tables.back() * block + t % block);
    }
  }
  std::vector<double> pages(static_cast<std::size_t>(blocks * block_stride), NAN);
  double* k_cache = pages.data() + 2 * block * kv_width;  // the second of two layers
  double* v_cache = k_cache + block * kv_width;
  cpu::kv_cache_write<double>(
      {o.k.data(), o.v.data(), k_cache, v_cache, slots.data(), o.keys, kv_width, o.kv_stride, block, block_stride});
  std::vector<double> out(o.out.size()), lse(o.lse.size());
  PagedAttention<double> call{};
  call.q = o.q.data();
  call.k_cache = k_cache;
  call.v_cache = v_cache;
  call.out = out.data();
  call.lse = lse.data();
  call.rows = rows.data();
  call.block_tables = tables.data();
  call.sequences = static_cast<std::int32_t>(rows.size());
  call.heads = o.shape.heads;
  call.kv_heads = o.shape.kv_heads;
  call.head_dim = o.shape.head_dim;
  call.block_size = block;
  call.q_stride = o.q_stride;
  call.block_stride = block_stride;
  cpu::paged_attention(call);
  // A single query sums in another order; several take the same way as packed ones.
  const bool decodes = std::ranges::any_of(o.rows, [](const AttentionRows& r) { return r.queries == 1; });
  const double tolerance = decodes ? 1e-13 : 0;
  expect_near(out, o.out, tolerance, "out");
  expect_near(lse, o.lse, tolerance, "lse");
}

// A query that one key dominates by far: no overflow, and the output is that key's value.
TEST(AttentionExtremes, LargeScores) {
  const std::vector<AttentionRows> rows = {{0, 2, 0, 2}};
  const std::vector<float> q = {1000, 1000}, k = {1000, -1000}, v = {3, 5};
  std::vector<float> out(2), lse(2);
  cpu::attention_forward<float>(
      {{1, 1, 1, rows.data(), 1, 2, 2}, q.data(), k.data(), v.data(), out.data(), lse.data(), 1, 1});
  EXPECT_EQ(out, (std::vector<float>{3, 3}));
  EXPECT_EQ(lse[1], 1e6f);
}

}  // namespace
}  // namespace alchemist

#include "tests/benchmarks/kernels/kernel_list.h"

namespace alchemist::benchmarks {
namespace {

// An entry of attention, whose cost depends on what the rows in device memory say.
template <class T, class Call>
Entry attention_entry(Arrays<T>& a, const std::string& name, Roof roof, const Call& call, double queries, double keys,
                      double attended) {
  Device<T>* device = &a.device();
  return {name, cost(call, queries, keys, attended), roof, [device, call](int) { device->run(call); }, 1};
}

template <class T>
PagedAttention<T> paged(Arrays<T>& a, const ModelShape& shape, std::int32_t sequences, std::int32_t queries,
                        std::int32_t keys) {
  constexpr std::int32_t kBlock = 16;
  const std::int32_t blocks = (keys + kBlock - 1) / kBlock;
  const std::int64_t stride = shape.q_width() + 2 * shape.kv_width(), block_stride = kBlock * 2 * shape.kv_width();
  std::vector<PagedRows> rows;
  std::vector<std::int32_t> tables;
  for (std::int32_t s = 0; s < sequences; ++s) {
    rows.push_back({s * queries, queries, keys, s * blocks});
    for (std::int32_t b = 0; b < blocks; ++b) tables.push_back(b * sequences + s);
  }
  PagedAttention<T> call{};
  call.q = a.random(sequences * queries * stride);
  T* cache = a.random(static_cast<std::int64_t>(sequences) * blocks * block_stride);
  call.k_cache = cache;
  call.v_cache = cache + kBlock * shape.kv_width();
  call.out = a.empty(sequences * queries * shape.q_width());
  call.rows = a.plain(rows);
  call.block_tables = a.plain(tables);
  call.sequences = sequences;
  call.max_queries = queries;
  call.max_keys = keys;
  call.heads = static_cast<std::int32_t>(shape.heads);
  call.kv_heads = static_cast<std::int32_t>(shape.kv_heads);
  call.head_dim = static_cast<std::int32_t>(shape.head_dim);
  call.block_size = kBlock;
  call.q_stride = stride;
  call.block_stride = block_stride;
  return call;
}

}  // namespace

template <class T>
std::vector<Entry> linear_kernels(Arrays<T>& a, const ModelShape& shape, std::int64_t tokens) {
  struct Product {
    const char* name;
    std::int64_t in, out;
  };
  const Product products[] = {{"qkv", shape.hidden, shape.q_width() + 2 * shape.kv_width()},
                              {"o", shape.q_width(), shape.hidden},
                              {"gate_up", shape.hidden, 2 * shape.intermediate},
                              {"down", shape.intermediate, shape.hidden}};
  std::vector<Entry> list;
  for (const Product& p : products) {
    const double bytes = static_cast<double>(tokens * (p.in + p.out) + p.in * p.out) * sizeof(T);
    add(list, a, std::string(p.name) + "_forward", Roof::kMatrix, bytes, [&] {
      return LinearForward<T>{a.random(tokens * p.in),
                              a.random(p.in * p.out),
                              nullptr,
                              a.empty(tokens * p.out),
                              tokens,
                              p.in,
                              p.out,
                              p.in,
                              p.out};
    });
    add(list, a, std::string(p.name) + "_input_gradient", Roof::kMatrix, bytes, [&] {
      return LinearInputGradient<T>{
          a.random(tokens * p.out), a.random(p.in * p.out), a.empty(tokens * p.in), tokens, p.in, p.out, p.out, p.in};
    });
    add(list, a, std::string(p.name) + "_weight_gradient", Roof::kMatrix, 2 * bytes, [&] {
      return LinearWeightGradient<T>{a.random(tokens * p.out),
                                     a.random(tokens * p.in),
                                     a.random_accumulators(p.in * p.out),
                                     nullptr,
                                     tokens,
                                     p.in,
                                     p.out,
                                     p.out,
                                     p.in};
    });
  }
  return list;
}

template <class T>
std::vector<Entry> attention_kernels(Arrays<T>& a, const ModelShape& shape, std::int64_t tokens) {
  std::vector<Entry> list;
  const auto count = static_cast<std::int32_t>(tokens);
  const double n = static_cast<double>(tokens), attended = attended_keys({.tokens = count, .context = 0});
  const std::int64_t stride = shape.q_width() + 2 * shape.kv_width();
  T* qkv = a.random(tokens * stride);
  const AttentionShape attention{static_cast<std::int32_t>(shape.heads),
                                 static_cast<std::int32_t>(shape.kv_heads),
                                 static_cast<std::int32_t>(shape.head_dim),
                                 a.plain(std::vector<AttentionRows>{{0, count, 0, count}}),
                                 1,
                                 count,
                                 count};
  AttentionForward<T> forward{attention,
                              qkv,
                              qkv + shape.q_width(),
                              qkv + shape.q_width() + shape.kv_width(),
                              a.empty(tokens * shape.q_width()),
                              a.template empty<Accumulator<T>>(tokens * shape.heads),
                              stride,
                              stride};
  list.push_back(attention_entry(a, "attention_forward", Roof::kMatrix, forward, n, n, attended));
  a.device().run(forward);
  const AttentionBackward<T> backward{attention,
                                      forward.q,
                                      forward.k,
                                      forward.v,
                                      forward.out,
                                      forward.lse,
                                      a.random(tokens * shape.q_width()),
                                      a.template empty<Accumulator<T>>(tokens * shape.heads),
                                      a.empty(tokens * shape.q_width()),
                                      a.random_accumulators(tokens * shape.kv_width()),
                                      a.random_accumulators(tokens * shape.kv_width()),
                                      stride,
                                      stride,
                                      shape.q_width()};
  list.push_back(attention_entry(a, "attention_backward", Roof::kMatrix, backward, n, n, attended));
  list.push_back(attention_entry(a, "paged_prefill", Roof::kMatrix, paged(a, shape, 1, count, count), n, n, attended));
  for (const std::int32_t sequences : {1, 64}) {
    const double keys = n * sequences;
    list.push_back(attention_entry(a, "decode_" + std::to_string(sequences) + "_sequences", Roof::kCopy,
                                   paged(a, shape, sequences, 1, count), sequences, keys, keys));
  }
  return list;
}

template std::vector<Entry> linear_kernels(Arrays<float>&, const ModelShape&, std::int64_t);
template std::vector<Entry> linear_kernels(Arrays<BFloat16>&, const ModelShape&, std::int64_t);
template std::vector<Entry> attention_kernels(Arrays<float>&, const ModelShape&, std::int64_t);
template std::vector<Entry> attention_kernels(Arrays<BFloat16>&, const ModelShape&, std::int64_t);

}  // namespace alchemist::benchmarks

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
    std::string name;
    std::int64_t in, out;
  };
  const Product products[] = {{"qkv", shape.hidden, shape.q_width() + 2 * shape.kv_width()},
                              {"o", shape.q_width(), shape.hidden},
                              {"gate_up", shape.hidden, 2 * shape.intermediate},
                              {"down", shape.intermediate, shape.hidden}};
  constexpr std::int64_t kRank = 16;  // of LoRA's adapters
  std::vector<Entry> list;
  const auto bytes = [&](std::int64_t in, std::int64_t out) {
    return static_cast<double>(tokens * (in + out) + in * out) * sizeof(T);
  };
  const auto add_forward = [&](const std::string& name, Roof roof, std::int64_t in, std::int64_t out, bool accumulate) {
    add(list, a, name, roof, bytes(in, out), [&] {
      T* y = accumulate ? a.random(tokens * out) : a.empty(tokens * out);
      return LinearForward<T>{
          a.random(tokens * in), a.random(in * out), nullptr, y, tokens, in, out, in, out, 1, accumulate};
    });
  };
  const auto add_input_gradient = [&](const std::string& name, Roof roof, std::int64_t in, std::int64_t out,
                                      bool accumulate) {
    add(list, a, name, roof, bytes(in, out), [&] {
      T* d_x = accumulate ? a.random(tokens * in) : a.empty(tokens * in);
      return LinearInputGradient<T>{
          a.random(tokens * out), a.random(in * out), d_x, tokens, in, out, out, in, 1, accumulate};
    });
  };
  const auto add_weight_gradient = [&](const std::string& name, Roof roof, std::int64_t in, std::int64_t out) {
    add(list, a, name, roof, 2 * bytes(in, out), [&] {
      return LinearWeightGradient<T>{a.random(tokens * out),
                                     a.random(tokens * in),
                                     a.random_accumulators(in * out),
                                     nullptr,
                                     tokens,
                                     in,
                                     out,
                                     out,
                                     in};
    });
  };
  for (const Product& p : products) {
    add_forward(p.name + "_forward", Roof::kMatrix, p.in, p.out, false);
    add_input_gradient(p.name + "_input_gradient", Roof::kMatrix, p.in, p.out, false);
    add_weight_gradient(p.name + "_weight_gradient", Roof::kMatrix, p.in, p.out);
    // What an adapter adds; and what it would cost to begin with it and to add the large product to it.
    add_forward(p.name + "_adapter_a", Roof::kCopy, p.in, kRank, false);
    add_forward(p.name + "_adapter_b_add", Roof::kCopy, kRank, p.out, true);
    add_forward(p.name + "_adapter_b", Roof::kCopy, kRank, p.out, false);
    add_forward(p.name + "_forward_add", Roof::kMatrix, p.in, p.out, true);
    add_input_gradient(p.name + "_adapter_b_input_gradient", Roof::kCopy, kRank, p.out, false);
    add_input_gradient(p.name + "_adapter_a_input_gradient_add", Roof::kCopy, p.in, kRank, true);
    add_input_gradient(p.name + "_input_gradient_add", Roof::kMatrix, p.in, p.out, true);
    add_weight_gradient(p.name + "_adapter_a_weight_gradient", Roof::kCopy, p.in, kRank);
    add_weight_gradient(p.name + "_adapter_b_weight_gradient", Roof::kCopy, kRank, p.out);
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

#include <numeric>

#include "tests/benchmarks/kernels/kernel_list.h"
#include "validate/record_layout.h"

namespace alchemist::benchmarks {
namespace {

template <class T>
void add_norms(std::vector<Entry>& list, Arrays<T>& a, std::int64_t tokens, std::int64_t width) {
  using A = Accumulator<T>;
  const std::int64_t count = tokens * width;
  const double bytes = static_cast<double>(count) * sizeof(T);
  const auto forward = [&](bool branch) {
    return RmsNormForward<T>{a.random(count),
                             branch ? a.random(count) : nullptr,
                             branch ? a.empty(count) : nullptr,
                             a.random(width),
                             a.empty(count),
                             a.template empty<A>(tokens),
                             tokens,
                             width,
                             A(1e-5)};
  };
  add(list, a, "norm_forward", Roof::kCopy, 2 * bytes, [&] { return forward(false); });
  add(list, a, "norm_forward_residual", Roof::kCopy, 4 * bytes, [&] { return forward(true); });
  const auto backward = [&](bool train) {
    return RmsNormBackward<T>{a.random(count), a.random_accumulators(tokens),
                              a.random(width), a.random(count),
                              a.random(count), train ? a.random_accumulators(width) : nullptr,
                              tokens,          width};
  };
  add(list, a, "norm_backward", Roof::kCopy, 3 * bytes, [&] { return backward(false); });
  add(list, a, "norm_backward_weight", Roof::kCopy, 3 * bytes, [&] { return backward(true); });
}

template <class T>
void add_activations(std::vector<Entry>& list, Arrays<T>& a, std::int64_t tokens, std::int64_t width) {
  const std::int64_t count = tokens * width;
  const double bytes = static_cast<double>(count) * sizeof(T);
  add(list, a, "gated_forward", Roof::kCopy, 3 * bytes, [&] {
    return GatedActivationForward<T>{a.random(2 * count), a.empty(count), tokens, width};
  });
  add(list, a, "gated_backward", Roof::kCopy, 5 * bytes, [&] {
    return GatedActivationBackward<T>{a.random(2 * count), a.random(count), a.empty(2 * count), nullptr, tokens, width};
  });
}

std::vector<std::int32_t> first_positions(std::int64_t tokens) {
  std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens));
  std::iota(positions.begin(), positions.end(), 0);
  return positions;
}

template <class T>
void add_rotary(std::vector<Entry>& list, Arrays<T>& a, const ModelShape& shape, std::int64_t tokens) {
  const std::int64_t heads = shape.heads + shape.kv_heads, stride = shape.q_width() + 2 * shape.kv_width();
  const std::vector<std::int32_t> positions = first_positions(tokens);
  add(list, a, "rotary", Roof::kCopy, static_cast<double>(tokens * stride) * sizeof(T), [&] {
    return Rotary<T>{a.random(tokens * stride),
                     a.plain(positions),
                     a.random_accumulators(tokens * shape.head_dim / 2),
                     a.random_accumulators(tokens * shape.head_dim / 2),
                     tokens,
                     heads,
                     shape.head_dim,
                     stride,
                     false};
  });
}

// The norm of each head with its rotation: what models with such norms have in the rotation's place.
template <class T>
void add_head_norm(std::vector<Entry>& list, Arrays<T>& a, const ModelShape& shape, std::int64_t tokens) {
  const std::int64_t heads = shape.heads + shape.kv_heads, stride = shape.q_width() + 2 * shape.kv_width();
  const std::vector<std::int32_t> positions = first_positions(tokens);
  const auto normed = [&] {
    NormedHeads<T> n{};
    n.x = a.random(tokens * stride);
    n.x_stride = stride;
    n.rstd = a.random_accumulators(tokens * heads);
    n.rstd_stride = heads;
    n.q_weight = a.random(shape.head_dim);
    n.k_weight = a.random(shape.head_dim);
    n.positions = a.plain(positions);
    n.cosine = a.random_accumulators(tokens * shape.head_dim / 2);
    n.sine = a.random_accumulators(tokens * shape.head_dim / 2);
    n.tokens = tokens;
    n.q_heads = shape.heads;
    n.k_heads = shape.kv_heads;
    n.head_dim = shape.head_dim;
    return n;
  };
  const double bytes = static_cast<double>(tokens * heads * shape.head_dim) * sizeof(T);
  add(list, a, "head_norm_forward", Roof::kCopy, 2 * bytes, [&] {
    return HeadNormForward<T>{normed(), a.empty(tokens * stride), stride, static_cast<Accumulator<T>>(1e-6)};
  });
  add(list, a, "head_norm_backward", Roof::kCopy, 2 * bytes, [&] {
    return HeadNormBackward<T>{normed(), a.random(tokens * stride), stride, nullptr, nullptr};
  });
}

// Recording: gate and up, the widest tensor, into pages that hold KV blocks of all layers; as a copy, and by the gated
// activation, which reads them anyway.
template <class T>
void add_recording(std::vector<Entry>& list, Arrays<T>& a, const ModelShape& shape, std::int64_t tokens) {
  constexpr std::int64_t kBlock = 16;
  const std::int64_t row_bytes = 2 * shape.intermediate * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t page_bytes = kBlock * 2 * shape.kv_width() * shape.layers * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t pages = (tokens * row_bytes + page_bytes - 1) / page_bytes;
  std::vector<std::int32_t> table;
  for (std::int64_t i = pages; i-- > 0;) table.push_back(static_cast<std::int32_t>(i));
  const auto record = [&]() -> PagedBytes {
    return {a.template empty<std::byte>(pages * page_bytes), page_bytes, a.plain(table), 0};
  };
  const auto bytes = static_cast<double>(tokens * row_bytes);
  add(list, a, "gated_forward_recorded", Roof::kCopy, 2.5 * bytes, [&] {
    return GatedActivationForward<T>{a.random(tokens * 2 * shape.intermediate), a.empty(tokens * shape.intermediate),
                                     tokens, shape.intermediate, record()};
  });
  add(list, a, "record_gate_up", Roof::kCopy, 2 * bytes, [&] {
    auto* rows = reinterpret_cast<std::byte*>(a.random(tokens * 2 * shape.intermediate));
    return RecordCopy{record(), tokens, RecordDirection::kToRecord, 1, {{rows, row_bytes, row_bytes}}};
  });
}

// Decode of many requests: a row of each into a record of its own, which has room for a run of its answer.
template <class T>
void add_kept_rows(std::vector<Entry>& list, Arrays<T>& a, const ModelShape& shape) {
  constexpr std::int32_t kRequests = 64, kRecordTokens = 64;
  ModelShape stored = shape;
  stored.dtype_bytes = sizeof(T);
  const RecordLayout layout(stored);
  const std::int64_t bytes = layout.bytes_per_token(RecordKind::kMinimal);
  add(list, a, "keep_rows", Roof::kCopy, 2.0 * kRequests * static_cast<double>(bytes), [&] {
    const std::int64_t page_bytes = 16 * 2 * shape.kv_width() * shape.layers * stored.dtype_bytes;
    const std::int64_t pages = (kRecordTokens * bytes + page_bytes - 1) / page_bytes;
    auto* memory = a.template empty<std::byte>(kRequests * pages * page_bytes);
    std::vector<RowPlace> places;
    for (std::int32_t i = 0; i < kRequests; ++i) {
      std::vector<std::int32_t> table;
      for (std::int64_t page = pages; page-- > 0;) table.push_back(static_cast<std::int32_t>(i * pages + page));
      places.push_back({{memory, page_bytes, a.plain(table), 0}, i, kRecordTokens, i, 0});
    }
    KeepRows call{};
    call.places = a.plain(places);
    call.count = kRequests;
    for (const RecordTensor tensor : layout.tensors(RecordKind::kMinimal)) {
      const std::int64_t row = layout.row_bytes(tensor);
      call.tensors[call.tensor_count++] = {a.template empty<std::byte>(kRequests * row), row, row};
    }
    return call;
  });
}

template <class T>
void add_simple(std::vector<Entry>& list, Arrays<T>& a, const ModelShape& shape, std::int64_t tokens) {
  const std::int64_t count = tokens * shape.hidden;
  const double bytes = static_cast<double>(count) * sizeof(T);
  add(list, a, "residual_add", Roof::kCopy, 3 * bytes, [&] {
    return ResidualAdd<T>{a.random(count), a.random(count), a.empty(count), count};
  });
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < tokens; ++i) ids.push_back(static_cast<std::int32_t>(i * 7919 % shape.vocabulary));
  const T* table = a.random(shape.vocabulary * shape.hidden);
  add(list, a, "embedding_forward", Roof::kCopy, 2 * bytes, [&] {
    return EmbeddingForward<T>{a.plain(ids), table, a.empty(count), tokens, shape.hidden};
  });
}

}  // namespace

template <class T>
std::vector<Entry> row_kernels(Arrays<T>& arrays, const ModelShape& shape, std::int64_t tokens) {
  std::vector<Entry> list;
  add_norms(list, arrays, tokens, shape.hidden);
  add_activations(list, arrays, tokens, shape.intermediate);
  add_rotary(list, arrays, shape, tokens);
  add_head_norm(list, arrays, shape, tokens);
  add_recording(list, arrays, shape, tokens);
  add_simple(list, arrays, shape, tokens);
  return list;
}

template <class T>
std::vector<Entry> step_kernels(Arrays<T>& a, const ModelShape& shape) {
  constexpr std::int64_t kRows = 256, kParameters = 50'000'000;
  std::vector<Entry> list;
  std::vector<std::int32_t> targets;
  for (std::int64_t i = 0; i < kRows; ++i) targets.push_back(static_cast<std::int32_t>(i * 31 % shape.vocabulary));
  const std::int64_t logits = kRows * shape.vocabulary;
  for (const bool gradient : {false, true}) {
    add(list, a, gradient ? "cross_entropy_gradient" : "cross_entropy", Roof::kCopy,
        static_cast<double>(logits) * sizeof(T), [&] {
          return CrossEntropy<T>{a.random(logits),
                                 a.plain(targets),
                                 a.random_accumulators(kRows),
                                 a.template empty<Accumulator<T>>(kRows),
                                 kRows,
                                 shape.vocabulary,
                                 gradient};
        });
  }
  add_kept_rows(list, a, shape);
  const std::int64_t count = std::min(shape.parameters(), kParameters);
  add(list, a, "adamw", Roof::kCopy, 18.0 * static_cast<double>(count), [&] {
    const bool master = sizeof(T) < sizeof(Accumulator<T>);
    AdamW<T> call{a.random(count),
                  master ? a.random_accumulators(count) : nullptr,
                  a.random_accumulators(count),
                  a.random_accumulators(count),
                  a.template empty<Accumulator<T>>(count),
                  count,
                  {},
                  0.1,
                  0.001};
    a.device().fill_zero(call.second_moment, count * static_cast<std::int64_t>(sizeof(Accumulator<T>)));
    return call;
  });
  return list;
}

template <class T>
std::vector<Entry> roofs(Arrays<T>& a, std::int64_t copy_bytes, std::int64_t size) {
  std::vector<Entry> list;
  add(list, a, "copy", Roof::kCopy, 2.0 * static_cast<double>(copy_bytes), [&] {
    const std::int64_t words = copy_bytes / 4;
    return RowCopy{reinterpret_cast<const std::byte*>(a.template random<float>(words)),
                   a.template empty<std::byte>(copy_bytes),
                   1,
                   copy_bytes,
                   copy_bytes,
                   copy_bytes};
  });
  add(list, a, "matrix", Roof::kMatrix, 3.0 * static_cast<double>(size * size) * sizeof(T), [&] {
    return LinearForward<T>{
        a.random(size * size), a.random(size * size), nullptr, a.empty(size * size), size, size, size, size, size};
  });
  return list;
}

template std::vector<Entry> row_kernels(Arrays<float>&, const ModelShape&, std::int64_t);
template std::vector<Entry> row_kernels(Arrays<BFloat16>&, const ModelShape&, std::int64_t);
template std::vector<Entry> step_kernels(Arrays<float>&, const ModelShape&);
template std::vector<Entry> step_kernels(Arrays<BFloat16>&, const ModelShape&);
template std::vector<Entry> roofs(Arrays<float>&, std::int64_t, std::int64_t);
template std::vector<Entry> roofs(Arrays<BFloat16>&, std::int64_t, std::int64_t);

}  // namespace alchemist::benchmarks

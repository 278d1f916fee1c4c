#include <algorithm>

#include "tests/cuda_cases/bench.h"
#include "tests/cuda_cases/heads.h"

namespace alchemist::cases {
namespace {

// Sequences side by side in q and, with as many rows between them as they have keys, in k and v.
std::vector<AttentionRows> packed(const std::vector<std::pair<std::int32_t, std::int32_t>>& queries_and_keys) {
  std::vector<AttentionRows> rows;
  std::int32_t query = 0, key = 0;
  for (const auto& [queries, keys] : queries_and_keys) {
    rows.push_back({query, queries, key, keys});
    query += queries;
    key += keys;
  }
  return rows;
}

// Forward, then backward from its results; the gradients of keys and values are added to what was there.
Case attention(const std::string& name, const Heads& h, const std::vector<AttentionRows>& rows) {
  return {"attention_" + name, [=]<class T>(Bench<T>& bench) -> Outputs {
            std::int32_t queries = 0, keys = 0, most_queries = 0, most_keys = 0;
            for (const AttentionRows& r : rows) {
              queries = std::max(queries, r.query_begin + r.queries);
              keys = std::max(keys, r.key_begin + r.keys);
              most_queries = std::max(most_queries, r.queries);
              most_keys = std::max(most_keys, r.keys);
            }
            const AttentionShape shape{
                h.heads,      h.kv_heads, h.dim, bench.plain(rows), static_cast<std::int32_t>(rows.size()),
                most_queries, most_keys};
            const std::int64_t q_width = h.heads * h.dim, kv_width = h.kv_heads * h.dim;
            const std::int64_t q_stride = q_width + 2 * kv_width, kv_stride = 2 * kv_width, d_q_stride = q_width + 8;
            const T* q = bench.storage(normal_values(queries * q_stride, "q"));
            const T* k = bench.storage(normal_values(keys * kv_stride, "k"));
            const T* v = k + kv_width;
            T* out = bench.unset_storage(queries * q_width);
            Accumulator<T>* lse = bench.unset_accumulators(queries * h.heads);
            bench.device().run(AttentionForward<T>{shape, q, k, v, out, lse, q_stride, kv_stride});
            const Values forward = bench.read(out, queries * q_width);
            const Values sums = bench.read(lse, queries * h.heads);

            T* d_q = bench.storage(normal_values(queries * d_q_stride, "d_q"));
            Accumulator<T>* d_k = bench.accumulators(normal_values(keys * kv_width, "d_k"));
            Accumulator<T>* d_v = bench.accumulators(normal_values(keys * kv_width, "d_v"));
            bench.device().run(AttentionBackward<T>{.shape = shape,
                                                    .q = q,
                                                    .k = k,
                                                    .v = v,
                                                    .out = out,
                                                    .lse = lse,
                                                    .d_out = bench.storage(normal_values(queries * q_width, "d_out")),
                                                    .delta = bench.unset_accumulators(queries * h.heads),
                                                    .d_q = d_q,
                                                    .d_k = d_k,
                                                    .d_v = d_v,
                                                    .q_stride = q_stride,
                                                    .kv_stride = kv_stride,
                                                    .d_q_stride = d_q_stride});
            // Weights are rounded before they meet the values, and delta comes from the rounded output.
            return {{"out", forward, kRoundedInside},
                    {"lse", sums, kSummed},
                    {"d_q", bench.read(d_q, queries * d_q_stride), kRoundedInside},
                    {"d_k", bench.read(d_k, keys * kv_width), kRoundedInside},
                    {"d_v", bench.read(d_v, keys * kv_width), kRoundedInside}};
          }};
}

// Shapes at which any kernel behaves differently.
std::vector<Case> common_cases(bool large) {
  const Heads tiny{4, 2, 32}, small{2, 2, 64}, wide{2, 1, 128};
  std::vector<Case> cases = {
      attention("one_token", tiny, packed({{1, 1}})),
      attention("ragged_32", tiny, packed({{70, 70}, {3, 3}, {64, 64}})),
      attention("context_32", tiny, packed({{5, 100}, {66, 130}, {1, 65}})),
      attention("ragged_64", small, packed({{65, 65}, {20, 84}})),
      attention("ragged_128", wide, packed({{150, 150}, {10, 140}})),
      attention("seven_heads", Heads{7, 1, 32}, packed({{80, 80}})),
  };
  if (large) {
    const Heads some{4, 1, 128};  // an eighth of Llama's: one core computes the reference
    cases.push_back(attention("llama_1024", some, packed({{1024, 1024}})));
    cases.push_back(attention("llama_ragged", some, packed({{700, 700}, {129, 1500}, {1, 300}, {513, 513}})));
  }
  return cases;
}

const Heads kLlama{32, 8, 128};

}  // namespace

std::vector<Case> attention_cases(bool large) {
  std::vector<Case> cases = common_cases(large);
  cases.push_back(attention("two_row_tiles", kLlama, packed({{140, 140}, {2, 2}, {2, 2}, {2, 2}})));
  return cases;
}

std::vector<Case> warpgroup_attention_cases(bool large) {
  std::vector<Case> cases = common_cases(large);
  std::vector<std::pair<std::int32_t, std::int32_t>> lengths(8, {2, 2});
  lengths[0] = {140, 140};
  cases.push_back(attention("heads_in_two_splits", kLlama, packed(lengths)));
  cases.push_back(attention("seven_rounds", Heads{1, 1, 64}, packed({{70, 400}})));  // every stage is used again
  if (large) cases.push_back(attention("llama_8192", Heads{1, 1, 128}, packed({{8192, 8192}})));  // many rounds
  return cases;
}

}  // namespace alchemist::cases

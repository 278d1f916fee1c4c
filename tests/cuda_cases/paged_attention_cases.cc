#include <algorithm>

#include "tests/cuda_cases/bench.h"
#include "tests/cuda_cases/heads.h"

namespace alchemist::cases {
namespace {

struct Sequence {
  std::int32_t queries, keys;
};

// Two layers a page, of which the second is read; blocks of a sequence lie apart and backwards in the cache.
Case paged(const std::string& name, const Heads& h, const std::vector<Sequence>& sequences, std::int32_t block_size,
           bool with_lse) {
  return {"paged_attention_" + name, [=]<class T>(Bench<T>& bench) -> Outputs {
            std::vector<PagedRows> rows;
            std::vector<std::int32_t> tables;
            std::int32_t queries = 0, most_queries = 0, most_keys = 0;
            for (const Sequence& s : sequences) {
              rows.push_back({queries, s.queries, s.keys, static_cast<std::int32_t>(tables.size())});
              queries += s.queries;
              most_queries = std::max(most_queries, s.queries);
              most_keys = std::max(most_keys, s.keys);
              for (std::int32_t b = 0; b < (s.keys + block_size - 1) / block_size; ++b)
                tables.push_back(static_cast<std::int32_t>(tables.size()));
            }
            const auto blocks = static_cast<std::int64_t>(tables.size());
            std::reverse(tables.begin(), tables.end());
            const std::int64_t kv_width = h.kv_heads * h.dim, q_width = h.heads * h.dim,
                               q_stride = q_width + 2 * kv_width;
            const std::int64_t layer = 2 * block_size * kv_width, block_stride = 2 * layer;
            const T* pages = bench.storage(normal_values(blocks * block_stride, "pages"));
            T* out = bench.unset_storage(queries * q_width);
            Accumulator<T>* lse = bench.unset_accumulators(queries * h.heads);
            bench.device().run(PagedAttention<T>{.q = bench.storage(normal_values(queries * q_stride, "q")),
                                                 .k_cache = pages + layer,
                                                 .v_cache = pages + layer + layer / 2,
                                                 .out = out,
                                                 .lse = with_lse ? lse : nullptr,
                                                 .rows = bench.plain(rows),
                                                 .block_tables = bench.plain(tables),
                                                 .sequences = static_cast<std::int32_t>(rows.size()),
                                                 .max_queries = most_queries,
                                                 .max_keys = most_keys,
                                                 .heads = h.heads,
                                                 .kv_heads = h.kv_heads,
                                                 .head_dim = h.dim,
                                                 .block_size = block_size,
                                                 .q_stride = q_stride,
                                                 .block_stride = block_stride});
            // Weights are rounded before they meet the values.
            Outputs outputs{{"out", bench.read(out, queries * q_width), kRoundedInside}};
            if (with_lse) outputs.push_back({"lse", bench.read(lse, queries * h.heads), kSummed});
            return outputs;
          }};
}

}  // namespace

std::vector<Case> paged_prefill_cases(bool large) {
  const Heads tiny{8, 4, 32}, small{2, 2, 64}, wide{4, 1, 128};
  std::vector<Case> cases = {
      paged("prefill_32", tiny, {{20, 20}, {7, 90}, {65, 65}}, 16, true),
      paged("prefill_64", small, {{66, 70}}, 8, false),
      paged("prefill_128", wide, {{40, 130}, {3, 3}}, 16, true),
      paged("prefill_split_32", tiny, {{70, 700}, {3, 10}, {2, 300}}, 16, true),
      paged("prefill_split_128", wide, {{20, 900}}, 16, false),
      paged("prefill_two_row_tiles", Heads{32, 8, 128}, {{140, 150}, {2, 2}, {2, 2}, {2, 2}}, 16, true),
  };
  if (large) {
    cases.push_back(paged("llama_prefill", {8, 2, 128}, {{512, 2000}, {300, 300}}, 16, true));
    cases.push_back(paged("llama_turn", {32, 8, 128}, {{60, 8000}}, 16, true));
    cases.push_back(paged("llama_prompts", {32, 8, 128}, {{1100, 1100}, {700, 1500}}, 16, true));
  }
  return cases;
}

std::vector<Case> paged_attention_cases(bool large) {
  const Heads tiny{8, 4, 32}, small{2, 2, 64}, wide{4, 1, 128};
  std::vector<Case> cases = paged_prefill_cases(large);
  const std::vector<Case> decodes = {
      paged("decode_32", tiny, {{1, 1}, {1, 17}, {1, 100}}, 16, false),
      paged("decode_split_32", tiny, {{1, 300}, {1, 5}}, 16, true),
      paged("decode_64", small, {{1, 77}}, 8, false),
      paged("decode_split_128", wide, {{1, 400}}, 16, true),
      paged("decode_seven_heads", Heads{7, 1, 32}, {{1, 50}}, 16, false),
      paged("decode_eighteen_heads", Heads{36, 2, 64}, {{1, 530}, {1, 30}}, 16, true),
  };
  cases.insert(cases.end(), decodes.begin(), decodes.end());
  if (large) cases.push_back(paged("llama_decode", {32, 8, 128}, {{1, 4000}, {1, 17}, {1, 900}, {1, 2048}}, 16, false));
  return cases;
}

}  // namespace alchemist::cases

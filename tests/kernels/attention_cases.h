// Shapes that attention is tried with, packed and paged.
#pragma once

#include <ostream>
#include <vector>

#include "kernels/attention.h"

namespace alchemist {

struct AttentionCase {
  const char* name;
  std::int32_t heads, kv_heads, head_dim;
  std::vector<std::pair<std::int32_t, std::int32_t>> queries_and_keys;  // of each sequence
  friend std::ostream& operator<<(std::ostream& out, const AttentionCase& c) { return out << c.name; }
};

inline std::vector<AttentionCase> attention_cases() {
  return {
      {"one_head", 1, 1, 4, {{3, 3}}},
      {"grouped_and_ragged", 4, 2, 6, {{5, 5}, {1, 1}, {3, 8}}},
      {"decode", 6, 2, 4, {{1, 1}, {1, 9}, {1, 17}}},
      {"longer_than_a_tile", 2, 1, 2, {{70, 70}, {66, 75}}},
  };
}

// Rows packed one behind the other.
inline std::vector<AttentionRows> packed_rows(const AttentionCase& c) {
  std::vector<AttentionRows> rows;
  std::int32_t query = 0, key = 0;
  for (const auto& [queries, keys] : c.queries_and_keys) {
    rows.push_back({query, queries, key, keys});
    query += queries;
    key += keys;
  }
  return rows;
}

}  // namespace alchemist

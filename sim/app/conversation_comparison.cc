// The fitted conversation model against real conversations.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>

#include "sim/app/workload_summary.h"

namespace alchemist {
namespace {

using Conversations = std::vector<std::vector<Turn>>;
using Pairs = std::vector<std::pair<double, double>>;

std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i;
    while (end < order.size() && values[order[end]] == values[order[i]]) ++end;
    for (std::size_t k = i; k < end; ++k) ranks[order[k]] = 0.5 * static_cast<double>(i + end - 1);  // ties share
    i = end;
  }
  return ranks;
}

// Spearman's rank correlation; 0 where it is not defined.
double rank_correlation(const Pairs& pairs) {
  std::vector<double> a, b;
  for (const auto& [x, y] : pairs) {
    a.push_back(x);
    b.push_back(y);
  }
  a = ranks_of(a);
  b = ranks_of(b);
  const double middle = (static_cast<double>(a.size()) - 1) / 2;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - middle) * (b[i] - middle);
    aa += (a[i] - middle) * (a[i] - middle);
    bb += (b[i] - middle) * (b[i] - middle);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0.0;
}

struct Statistics {
  std::array<Distribution, 4> marginal;  // turns, first prompt, new user tokens, answers
  std::array<Pairs, 6> pairs;
};

constexpr std::array<const char*, 4> kMarginals{"turns", "first_prompt_tokens", "new_user_tokens", "answer_tokens"};
constexpr std::array<const char*, 6> kPairs{"answer, next answer",     "new user tokens, next new user tokens",
                                            "new user tokens, answer", "turns, first answer",
                                            "turns, first prompt",     "first prompt, first answer"};

Statistics statistics_of(const Conversations& conversations) {
  Statistics s;
  for (const std::vector<Turn>& turns : conversations) {
    const auto count = static_cast<std::int64_t>(turns.size());
    const Turn& first = turns.front();
    s.marginal[0].add(count);
    s.marginal[1].add(first.new_tokens);
    s.pairs[3].emplace_back(count, first.output_tokens);
    s.pairs[4].emplace_back(count, first.new_tokens);
    s.pairs[5].emplace_back(first.new_tokens, first.output_tokens);
    for (std::size_t t = 0; t < turns.size(); ++t) {
      s.marginal[3].add(turns[t].output_tokens);
      if (t == 0) continue;
      s.marginal[2].add(turns[t].new_tokens);
      s.pairs[0].emplace_back(turns[t - 1].output_tokens, turns[t].output_tokens);
      s.pairs[2].emplace_back(turns[t].new_tokens, turns[t].output_tokens);
      if (t > 1) s.pairs[1].emplace_back(turns[t - 1].new_tokens, turns[t].new_tokens);
    }
  }
  return s;
}

}  // namespace

ConversationComparison::ConversationComparison(const Conversations& model, const Conversations& real) {
  const Statistics a = statistics_of(model), b = statistics_of(real);
  for (std::size_t i = 0; i < kMarginals.size(); ++i) {
    if (a.marginal[i].count() == 0 || b.marginal[i].count() == 0) continue;
    for (double q : {0.1, 0.25, 0.5, 0.75, 0.9, 0.99}) {
      rows_.push_back({kMarginals[i], q, *a.marginal[i].quantile(q), *b.marginal[i].quantile(q)});
    }
  }
  for (std::size_t i = 0; i < kPairs.size(); ++i) {
    rows_.push_back({kPairs[i], std::nullopt, rank_correlation(a.pairs[i]), rank_correlation(b.pairs[i])});
  }
}

std::string ConversationComparison::text() const {
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "\n{:42s}{:>8s}{:>10s}{:>10s}{:>12s}\n", "workload against file", "", "workload", "file",
                 "difference");
  for (const Row& row : rows_) {
    if (row.quantile) {
      const double percent = row.real != 0 ? 100 * (row.model / row.real - 1) : 0.0;
      fmt::format_to(to, "{:42s}{:>8s}{:>10.0f}{:>10.0f}{:>+10.1f} %\n", row.what,
                     fmt::format("P{:g}", 100 * *row.quantile), row.model, row.real, percent);
    } else {
      fmt::format_to(to, "{:42s}{:>8s}{:>10.3f}{:>10.3f}{:>+12.3f}\n", row.what, "rank r", row.model, row.real,
                     row.model - row.real);
    }
  }
  return out;
}

nlohmann::ordered_json ConversationComparison::json() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Row& row : rows_) {
    nlohmann::ordered_json j;
    j["what"] = row.what;
    if (row.quantile) {
      j["quantile"] = *row.quantile;
    } else {
      j["measure"] = "rank correlation";
    }
    j["workload"] = row.model;
    j["file"] = row.real;
    list.push_back(j);
  }
  return list;
}

}  // namespace alchemist

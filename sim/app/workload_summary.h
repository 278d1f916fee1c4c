// What a workload looks like: quantiles, rate over time, prefix sharing.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sim/base/workload.h"
#include "sim/report/distribution.h"
#include "workloads/conversation_model.h"

namespace alchemist {

// Takes the requests of a workload in order of arrival. Memory: a few words per session and per chain id.
class WorkloadSummary {
 public:
  void add(const WorkloadRequest& request);
  std::int64_t requests() const { return requests_; }
  std::string text(bool has_arrivals) const;             // for people
  nlohmann::ordered_json json(bool has_arrivals) const;  // the same numbers, and the points of the figure

 private:
  struct Session {
    std::int32_t turns = 0;
    std::int64_t history = 0;  // tokens: previous prompt and answer
    std::uint64_t content = 0;
  };
  // Prompt tokens in full blocks of 16 that an infinite prefix cache would hold, answers included, if every request had
  // finished before the next came.
  std::int64_t shared_tokens(const WorkloadRequest& request);
  std::vector<double> rate_over_time(std::size_t bins) const;  // requests/s in equal parts of the duration
  std::vector<std::pair<std::string, const Distribution*>> distributions() const;
  double gap_cv() const;

  std::int64_t requests_ = 0;
  std::int64_t prompt_tokens_ = 0;
  std::int64_t output_tokens_ = 0;
  std::int64_t shared_tokens_ = 0;
  Time last_;
  double gap_sum_ = 0, gap_square_sum_ = 0;  // seconds
  Distribution prompt_, output_, first_prompt_, new_tokens_;
  mutable Distribution turns_;
  std::unordered_map<std::uint64_t, Session> sessions_;
  std::unordered_map<std::uint64_t, std::int64_t> cached_;  // content -> tokens
  std::unordered_set<std::uint64_t> cached_chains_;
  std::vector<std::int64_t> per_second_;
};

// Two sets of conversations side by side: quantiles of turns, first prompts, new user tokens and answers, and the rank
// correlations between them.
class ConversationComparison {
 public:
  ConversationComparison(const std::vector<std::vector<Turn>>& model, const std::vector<std::vector<Turn>>& real);
  std::string text() const;
  nlohmann::ordered_json json() const;

 private:
  struct Row {
    std::string what;
    std::optional<double> quantile;  // none: a rank correlation
    double model = 0;
    double real = 0;
  };
  std::vector<Row> rows_;
};

}  // namespace alchemist

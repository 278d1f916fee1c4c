// Tokens of causal sequences in the order in which training works on them, as runs of consecutive positions.
#pragma once

#include <cstdint>
#include <vector>

namespace alchemist {

class TokenRuns {
 public:
  // Positions [first, first + tokens) of some sequence come behind what was added before. Nothing for no tokens.
  void add(std::int32_t first, std::int32_t tokens);
  void clear();
  std::int64_t tokens() const { return tokens_; }
  // Keys that the tokens [begin, end) of all these, counted in their order, attend to in sum: a token at position p of
  // its sequence (from 0) sees p + 1. 0 <= begin <= end <= tokens(). Exact below 2^53; O(log runs).
  double keys(std::int64_t begin, std::int64_t end) const { return keys_before(end) - keys_before(begin); }
  double keys() const { return keys_; }

 private:
  struct Run {
    std::int32_t first;          // position of its first token
    std::int64_t tokens_before;  // in earlier runs
    double keys_before;
  };
  double keys_before(std::int64_t token) const;

  std::vector<Run> runs_;
  std::int64_t tokens_ = 0;
  double keys_ = 0;
};

}  // namespace alchemist

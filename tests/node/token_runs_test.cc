#include "sim/node/token_runs.h"

#include <gtest/gtest.h>

#include <vector>

namespace alchemist {
namespace {

// Against a list of all tokens: from each to each.
TEST(TokenRuns, KeysAreThoseOfEveryToken) {
  TokenRuns runs;
  std::vector<double> keys;
  const auto add = [&](std::int32_t first, std::int32_t tokens) {
    runs.add(first, tokens);
    for (std::int32_t i = 0; i < tokens; ++i) keys.push_back(first + i + 1);
  };
  add(0, 7);
  add(100, 1);
  add(3, 0);
  add(101, 5);
  add(2, 9);
  EXPECT_EQ(runs.tokens(), 22);
  for (std::size_t begin = 0; begin <= keys.size(); ++begin) {
    double sum = 0;
    for (std::size_t end = begin; end <= keys.size(); ++end) {
      EXPECT_EQ(runs.keys(static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end)), sum);
      if (end < keys.size()) sum += keys[end];
    }
    if (begin == 0) { EXPECT_EQ(runs.keys(), sum); }
  }
  runs.clear();
  EXPECT_EQ(runs.tokens(), 0);
  EXPECT_EQ(runs.keys(0, 0), 0);
  add(5, 1);
  EXPECT_EQ(runs.keys(0, 1), 6);
}

// Ten thousand samples of 128k tokens.
TEST(TokenRuns, AreExactForManyTokens) {
  constexpr std::int32_t kLength = 131'072;
  TokenRuns runs;
  for (int i = 0; i < 10'000; ++i) runs.add(0, kLength);
  const std::int64_t end = runs.tokens();
  EXPECT_EQ(runs.keys(end - 1, end), kLength);
  EXPECT_EQ(runs.keys(end - kLength, end), 0.5 * kLength * (kLength + 1.0));
}

}  // namespace
}  // namespace alchemist

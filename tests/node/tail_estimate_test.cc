#include "sim/node/tail_estimate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "sim/base/random.h"

namespace alchemist {
namespace {

TEST(TailEstimate, KnowsNothingAtFirst) {
  TailEstimate tail(0.97);
  tail.add(Duration::milliseconds(5), 199);
  EXPECT_EQ(tail.value(), Duration());
  tail.add(Duration::milliseconds(5), 1);
  EXPECT_GT(tail.value(), Duration());
}

// Values come singly and in runs. The estimate is the lower edge of a bin that is 6 % wide.
TEST(TailEstimate, IsTheQuantileOfWhatCame) {
  for (const double quantile : {0.5, 0.9, 0.97}) {
    TailEstimate tail(quantile);
    RandomStream random(5, "values");
    std::vector<double> all;
    while (all.size() < 15'000) {
      const Duration value = Duration::seconds(0.005 * (1 + random.exponential(0.8)));
      const std::int64_t count = random.uniform() < 0.3 ? random.uniform_int(2, 40) : 1;
      tail.add(value, count);
      all.insert(all.end(), static_cast<std::size_t>(count), value.in_seconds());
      if (all.size() < 300) continue;
      auto at = all.begin() + static_cast<std::ptrdiff_t>(quantile * static_cast<double>(all.size()));
      std::nth_element(all.begin(), at, all.end());
      EXPECT_LE(tail.value().in_seconds(), *at * 1.0001);
      EXPECT_GE(tail.value().in_seconds(), *at / 1.07);
    }
  }
}

TEST(TailEstimate, ForgetsThePast) {
  TailEstimate tail(0.9);
  tail.add(Duration::milliseconds(100), 20'000);
  tail.add(Duration::milliseconds(5), 1'000'000);
  for (int i = 0; i < 100; ++i) tail.add(Duration::milliseconds(5), 2'000);
  EXPECT_LE(tail.value(), Duration::milliseconds(5));
  tail.add(Duration::milliseconds(50), 20'000);
  EXPECT_GT(tail.value(), Duration::milliseconds(40));
}

}  // namespace
}  // namespace alchemist

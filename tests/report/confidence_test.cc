#include "sim/report/confidence.h"

#include <gtest/gtest.h>

#include <cmath>

namespace alchemist {
namespace {

// 2, 4, 9: mean 5; squared deviations 9 + 1 + 16 = 26, s = sqrt(13), s / sqrt(3) = 2.0817. Tables give t(0.975; 2) =
// 4.302653, so half of the interval is 8.9567.
TEST(ConfidenceInterval, ThreeValuesByHand) {
  const ConfidenceInterval interval = confidence_interval({2, 4, 9});
  EXPECT_EQ(interval.n, 3);
  EXPECT_DOUBLE_EQ(interval.mean, 5);
  const double half = 4.302652729911275 * std::sqrt(13.0 / 3);
  EXPECT_NEAR(*interval.low, 5 - half, 1e-9);
  EXPECT_NEAR(*interval.high, 5 + half, 1e-9);
}

// Of two values the half is t(0.975; 1) = 12.7062 times half of their distance.
TEST(ConfidenceInterval, TwoValues) {
  const ConfidenceInterval interval = confidence_interval({1, 3});
  EXPECT_DOUBLE_EQ(interval.mean, 2);
  EXPECT_NEAR(*interval.high - 2, 12.706204736174694, 1e-9);
}

TEST(ConfidenceInterval, OneValueHasNoBounds) {
  const ConfidenceInterval interval = confidence_interval({7});
  EXPECT_EQ(interval.n, 1);
  EXPECT_EQ(interval.mean, 7);
  EXPECT_FALSE(interval.low || interval.high);
}

// Three times 0.1 is not 0.3 in binary; the mean of equal values is that value all the same.
TEST(ConfidenceInterval, EqualValuesHaveNoWidth) {
  const ConfidenceInterval interval = confidence_interval({0.1, 0.1, 0.1});
  EXPECT_EQ(interval.mean, 0.1);
  EXPECT_EQ(interval.low, 0.1);
  EXPECT_EQ(interval.high, 0.1);
}

}  // namespace
}  // namespace alchemist

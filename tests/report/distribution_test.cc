#include "sim/report/distribution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "sim/base/random.h"

namespace alchemist {
namespace {

// numpy.percentile([10, 20, 30, 40], [0, 25, 50, 90, 100]): rank = q * 3, so 10, 10 + 0.75 * 10, 25, 30 + 0.7 * 10, 40.
TEST(Quantiles, InterpolateLinearlyBetweenOrderStatistics) {
  const std::array<double, 4> sorted{10, 20, 30, 40};
  EXPECT_DOUBLE_EQ(sorted_quantile(sorted, 0), 10);
  EXPECT_DOUBLE_EQ(sorted_quantile(sorted, 0.25), 17.5);
  EXPECT_DOUBLE_EQ(sorted_quantile(sorted, 0.5), 25);
  EXPECT_DOUBLE_EQ(sorted_quantile(sorted, 0.9), 37);
  EXPECT_DOUBLE_EQ(sorted_quantile(sorted, 1), 40);

  Distribution d;
  for (int v : {30, 10, 40, 20}) d.add(v);
  const std::array qs{0.0, 0.25, 0.5, 0.9, 1.0};
  const std::vector<double> q = d.quantiles(qs);
  const std::vector<double> expected{10, 17.5, 25, 37, 40};
  ASSERT_EQ(q.size(), expected.size());
  for (std::size_t i = 0; i < q.size(); ++i) EXPECT_DOUBLE_EQ(q[i], expected[i]) << "q = " << qs[i];
  EXPECT_DOUBLE_EQ(*d.mean(), 25);
}

TEST(Quantiles, OfOneSampleAreTheSample) {
  Distribution d;
  d.add(7);
  EXPECT_EQ(*d.quantile(0.5), 7);
  EXPECT_EQ(*d.quantile(0.99), 7);
}

TEST(Quantiles, OfNothingAreNone) {
  const Distribution d;
  EXPECT_FALSE(d.quantile(0.5).has_value());
  EXPECT_FALSE(d.mean().has_value());
}

// {5 x 3, 9 x 1}: ranks 0..3 hold 5 5 5 9; P90 has rank 2.7, so 5 + 0.7 * 4; the mean is 24 / 4.
TEST(Quantiles, WeightsCountAsRepeatedSamples) {
  Distribution weighted, repeated;
  weighted.add(9);
  weighted.add(5, 3);
  for (int v : {5, 9, 5, 5}) repeated.add(v);
  for (const Distribution* d : {&weighted, &repeated}) {
    EXPECT_DOUBLE_EQ(*d->quantile(0.9), 7.8);
    EXPECT_DOUBLE_EQ(*d->quantile(0.5), 5);
    EXPECT_DOUBLE_EQ(*d->mean(), 6);
  }
}

// At 65,536 samples P50 of 0..65535 is 32767.5 exactly; one more sample and the histogram answers, within its bound.
TEST(Quantiles, AreExactUpToTheLimit) {
  Distribution d;
  for (std::int64_t v = 0; v < Distribution::kExactSamples; ++v) d.add(v);
  EXPECT_DOUBLE_EQ(*d.quantile(0.5), 32767.5);
  d.add(Distribution::kExactSamples);
  EXPECT_NEAR(*d.quantile(0.5), 32768, 32768 * Distribution::kRelativeError);
  EXPECT_DOUBLE_EQ(*d.mean(), 32768);
}

// Heavy tails over nine decades: each quantile of 200,000 draws against the exact one of the same draws.
TEST(Quantiles, HistogramKeepsItsErrorBound) {
  RandomStream stream(7, "quantiles");
  Distribution d;
  std::vector<double> all;
  for (int i = 0; i < 200'000; ++i) {
    const auto v = static_cast<std::int64_t>(3e7 * std::exp(3 * stream.normal()));
    d.add(v);
    all.push_back(static_cast<double>(v));
  }
  std::sort(all.begin(), all.end());
  double worst = 0;
  for (double q = 0; q <= 1; q += 0.001) {
    const double exact = sorted_quantile(all, q);
    worst = std::max(worst, std::abs(*d.quantile(q) - exact) / exact);
  }
  EXPECT_LE(worst, Distribution::kRelativeError);
  EXPECT_LE(Distribution::kRelativeError, 0.001);
  EXPECT_GT(worst, 0) << "the histogram was never used";
}

// The same samples in another order and grouping give the same bits, on both sides of the limit.
TEST(Quantiles, DoNotDependOnOrderOrGrouping) {
  for (int n : {1'000, 100'000}) {
    Distribution ascending, grouped;
    for (int i = 0; i < n; ++i) ascending.add(1'000'003LL * (i % 97 + 1));
    for (int r = 96; r >= 0; --r) grouped.add(1'000'003LL * (r + 1), (n - r + 96) / 97);
    ASSERT_EQ(ascending.count(), grouped.count());
    EXPECT_EQ(*ascending.mean(), *grouped.mean());
    for (double q : {0.0, 0.5, 0.9, 0.95, 0.99, 1.0}) EXPECT_EQ(*ascending.quantile(q), *grouped.quantile(q));
  }
}

// Sums beyond 64 bits: 10 samples of 2^62 have the mean 2^62.
TEST(Quantiles, LargeValuesDoNotOverflow) {
  Distribution d;
  const std::int64_t large = std::int64_t{1} << 62;
  d.add(large, Distribution::kExactSamples + 10);
  EXPECT_EQ(*d.mean(), static_cast<double>(large));
  EXPECT_EQ(*d.quantile(0.99), static_cast<double>(large));
  d.add(INT64_MAX);
  EXPECT_NEAR(*d.quantile(1), 9.223372036854775807e18, 9.3e18 * Distribution::kRelativeError);
  EXPECT_NEAR(*d.quantile(0), static_cast<double>(large), 4.7e18 * Distribution::kRelativeError);
}

}  // namespace
}  // namespace alchemist

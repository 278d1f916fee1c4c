#include "sim/sweep/sweep_statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

namespace alchemist {
namespace {

ResultRow row(std::int64_t seed, SummaryValue value) { return {0, seed, true, "", {std::move(value)}}; }
ResultRow failed_row(std::int64_t seed) { return {0, seed, false, "no memory", {}}; }

TEST(MeanOverSeeds, LeavesOutWhatIsNoNumberOrFailed) {
  const auto interval = mean_over_seeds({row(1, 2.0), row(2, std::int64_t{4}), row(3, std::monostate()), failed_row(4),
                                         row(5, std::uint64_t{9}), row(6, true)},
                                        0);
  ASSERT_TRUE(interval);
  EXPECT_EQ(interval->n, 3);
  EXPECT_DOUBLE_EQ(interval->mean, 5);
  EXPECT_FALSE(mean_over_seeds({failed_row(1), row(2, std::monostate()), row(3, std::string("x"))}, 0));
}

TEST(MeanResult, TruthCountsAsOne) {
  const std::vector<std::string> keys = result_keys();
  const auto place = static_cast<std::size_t>(std::find(keys.begin(), keys.end(), "saturated") - keys.begin());
  ASSERT_LT(place, keys.size());
  PointRows rows;
  for (const bool saturated : {true, false, false, false}) {
    ResultRow row{0, 1, true, "", std::vector<SummaryValue>(keys.size())};
    row.values[place] = saturated;
    rows.push_back(std::move(row));
  }
  rows.push_back(failed_row(5));
  EXPECT_EQ(mean_result(rows, "saturated"), 0.25);
  EXPECT_EQ(mean_result(rows, "mean_ttft_ms"), std::nullopt);
}

// 10 - 7, 20 - 19 of the seeds that both have: mean 2. The order of the baseline's rows does not matter.
TEST(PairedDifference, PairsBySeed) {
  const auto difference =
      paired_difference({row(1, 10.0), row(2, 20.0), row(3, 30.0)}, {row(2, 19.0), row(1, 7.0), failed_row(3)}, 0);
  ASSERT_TRUE(difference);
  EXPECT_EQ(difference->n, 2);
  EXPECT_DOUBLE_EQ(difference->mean, 2);
}

SweepAxis axis(const std::string& key, const std::vector<std::string>& labels) {
  SweepAxis axis{key, {}};
  for (const std::string& label : labels) axis.values.push_back({label, {key, label, ""}});
  return axis;
}

TEST(BaselinePoint, IsTheSameButForThePolicy) {
  SweepSpec spec;
  spec.groups = {{axis("rate", {"1", "2"})}, {axis("policy", {"a", "b", "c"})}};
  spec.baseline = "b";
  const std::vector<SweepPoint> points = grid_points(spec);  // 1a 1b 1c 2a 2b 2c
  EXPECT_EQ(baseline_point(spec, points, 0), 1U);
  EXPECT_EQ(baseline_point(spec, points, 1), std::nullopt);
  EXPECT_EQ(baseline_point(spec, points, 5), 4U);
}

TEST(BaselinePoint, WhatIsZippedWithThePolicyMayDiffer) {
  SweepSpec spec;
  spec.groups = {{axis("rate", {"1", "2"})}, {axis("policy", {"a", "b"}), axis("gpus", {"2", "4"})}};
  spec.baseline = "a";
  const std::vector<SweepPoint> points = grid_points(spec);  // 1 a 2, 1 b 4, 2 a 2, 2 b 4
  EXPECT_EQ(baseline_point(spec, points, 3), 2U);
  SweepSpec without;
  without.groups = {{axis("rate", {"1", "2"})}};
  EXPECT_EQ(baseline_point(without, grid_points(without), 1), std::nullopt);
}

}  // namespace
}  // namespace alchemist

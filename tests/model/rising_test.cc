#include "sim/model/rising.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

using Points = std::vector<std::pair<double, double>>;

TEST(Rising, LeavesWhatRises) {
  const Points points = {{1, 2}, {2, 2}, {5, 9}};
  EXPECT_EQ(rising(points), points);
}

// 9, 3 share 6; with 6 behind them that does not fall; 2 pulls all four down to 5, which is still above the first.
TEST(Rising, NeighboursThatFallShareTheirMean) {
  EXPECT_EQ(rising({{1, 4}, {2, 9}, {3, 3}, {4, 6}, {5, 2}, {6, 7}}),
            (Points{{1, 4}, {2, 5}, {3, 5}, {4, 5}, {5, 5}, {6, 7}}));
}

TEST(Rising, AllThatFallsIsFlat) { EXPECT_EQ(rising({{1, 3}, {2, 2}, {3, 1}}), (Points{{1, 2}, {2, 2}, {3, 2}})); }

}  // namespace
}  // namespace alchemist

#include "sim/sweep/bisection.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace alchemist {
namespace {

struct Walk {
  std::vector<double> looked_at;
  std::optional<double> best;
};

Walk walk(double low, double high, double tolerance, double largest_good) {
  Bisection b(low, high, tolerance);
  Walk walk;
  while (!b.done()) {
    walk.looked_at.push_back(b.next());
    b.tell(b.next() <= largest_good);
  }
  walk.best = b.best();
  return walk;
}

// Ends, then halves: of 0..8 with 5.5 as the limit, 4 is good, 6 is not, 5 is, and 5..6 is as wide as the tolerance.
TEST(Bisection, HalvesUntilTheToleranceIsReached) {
  const Walk w = walk(0, 8, 1, 5.5);
  EXPECT_EQ(w.looked_at, (std::vector<double>{0, 8, 4, 6, 5}));
  EXPECT_EQ(w.best, 5);
}

TEST(Bisection, AGoodUpperEndIsTheAnswer) {
  const Walk w = walk(1, 9, 0.5, 9);
  EXPECT_EQ(w.looked_at, (std::vector<double>{1, 9}));
  EXPECT_EQ(w.best, 9);
}

TEST(Bisection, WithoutAGoodLowerEndThereIsNone) {
  const Walk w = walk(1, 9, 0.5, 0.9);
  EXPECT_EQ(w.looked_at, (std::vector<double>{1}));
  EXPECT_EQ(w.best, std::nullopt);
}

TEST(Bisection, WholeNumbersAlone) {
  Bisection b(257, 8192, 64, true);
  while (!b.done()) {
    EXPECT_EQ(b.next(), std::floor(b.next()));
    b.tell(b.next() <= 500);
  }
  EXPECT_GE(*b.best(), 500 - 64);
  EXPECT_LE(*b.best(), 500);
  Bisection odd(1, 4, 1, true);
  for (const double expected : {1, 4, 2, 3}) {  // the lower of the two in the middle
    EXPECT_EQ(odd.next(), expected);
    odd.tell(odd.next() < 4);
  }
  EXPECT_TRUE(odd.done());
  EXPECT_EQ(odd.best(), 3);
}

TEST(Bisection, IntervalOfOneValue) { EXPECT_EQ(walk(3, 3, 0.5, 3).best, 3); }

}  // namespace
}  // namespace alchemist

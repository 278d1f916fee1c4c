#include "sim/node/training_pace.h"

#include <gtest/gtest.h>

#include "sim/node/token_rate.h"

namespace alchemist {
namespace {

Time at(std::int64_t s) { return Time() + Duration::seconds(static_cast<double>(s)); }

// 2 s of work in 10 s of the clock, 4 of which went by with waiting for copies: (10 - 4) / 2 = 3.
TEST(TrainingPace, WaitingForCopiesIsNotServing) {
  TrainingPace pace;
  EXPECT_EQ(pace.factor(), 1);
  pace.on_begin(at(100));
  pace.on_ran(at(101), Duration::seconds(1));
  pace.on_ready(at(102), false);
  pace.on_ready(at(104), false);
  pace.on_ready(at(106), true);
  pace.on_ready(at(107), true);
  pace.on_ran(at(109), Duration::seconds(1));
  pace.on_end(at(110));
  EXPECT_DOUBLE_EQ(pace.factor(), 3);
  // The next one has the GPU to itself: a quarter of the way from 3 to 1.
  pace.on_begin(at(110));
  pace.on_ran(at(115), Duration::seconds(5));
  pace.on_end(at(115));
  EXPECT_DOUBLE_EQ(pace.factor(), 2.5);
}

// Pieces of a second, each with a second of serving behind it; then back to back.
TEST(TrainingPace, PiecesThatFollowAtOnce) {
  TrainingPace pace;
  EXPECT_EQ(pace.following(), 1) << "as long as nothing is known";
  for (int i = 1; i <= 500; ++i) pace.on_ran(at(2 * i), Duration::seconds(1));
  EXPECT_LT(pace.following(), 0.01);
  for (int i = 1; i <= 69; ++i) pace.on_ran(at(1'000 + i), Duration::seconds(1));
  EXPECT_NEAR(pace.following(), 0.5, 0.01) << "0.99^69 = 0.5";
}

// 10 tokens every second: the rate is right from early on, and fades when they stop, by 1/e in 120 s.
TEST(TokenRate, OfLate) {
  TokenRate rate;
  EXPECT_EQ(rate.per_second(Time()), 0);
  for (int s = 1; s <= 60; ++s) rate.add(at(s), 10);
  EXPECT_NEAR(rate.per_second(at(60)), 10, 0.1);
  for (int s = 61; s <= 2'000; ++s) rate.add(at(s), 10);
  const double steady = rate.per_second(at(2'000));
  EXPECT_NEAR(steady, 10, 0.1);
  EXPECT_NEAR(rate.per_second(at(2'120)) / steady, std::exp(-1), 1e-6);
}

}  // namespace
}  // namespace alchemist

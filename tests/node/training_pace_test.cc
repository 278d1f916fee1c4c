#include "sim/node/training_pace.h"

#include <gtest/gtest.h>

#include <vector>

#include "sim/node/copy_pace.h"
#include "sim/node/token_rate.h"

namespace alchemist {
namespace {

Time at(std::int64_t s) { return Time() + Duration::seconds(static_cast<double>(s)); }

void run(TrainingPace& pace, int from, int to, int ran) {
  pace.on_ready(at(from), true);
  pace.on_ran(at(to), Duration::seconds(ran));
}

// Three pieces of 1 s each, the first two 3 s of the clock after the one before. The third had to wait for its copy for
// 2 s and then for serving for 5, which it would not have done had it been there in time: it does not count.
TEST(TrainingPace, PiecesThatWaitForCopiesTellNothingOfServing) {
  TrainingPace pace;
  EXPECT_EQ(pace.factor(), 1);
  EXPECT_EQ(pace.outlook(), std::vector<double>{1});
  pace.on_begin(at(100));
  run(pace, 102, 103, 1);
  run(pace, 105, 106, 1);
  pace.on_ready(at(106), false);
  pace.on_ready(at(107), false);
  run(pace, 108, 113, 1);
  EXPECT_DOUBLE_EQ(pace.so_far(at(113)), 11 / 3.0);
  pace.on_end();
  EXPECT_DOUBLE_EQ(pace.factor(), 3);
  // Of the next one nearly all had to wait: it is counted together with the one behind it, (1 + 5) / (1 + 1).
  pace.on_begin(at(200));
  run(pace, 200, 201, 1);
  pace.on_ready(at(202), false);
  run(pace, 203, 290, 3);
  pace.on_end();
  EXPECT_DOUBLE_EQ(pace.factor(), 3);
  pace.on_begin(at(300));
  run(pace, 304, 305, 1);
  pace.on_end();
  EXPECT_DOUBLE_EQ(pace.factor(), 3) << "as its mean of 3";
  EXPECT_EQ(pace.outlook(), std::vector<double>{3});
}

// Micro-batches of 1 s that took 1 and 5 s in turn, and a last one of 3 s: what the next one may take, in pairs.
TEST(TrainingPace, TheOutlookIsAsUnevenAsThePast) {
  TrainingPace pace;
  for (int i = 0; i < 9; ++i) {
    pace.on_begin(at(10 * i));
    run(pace, 10 * i, 10 * i + (i == 8 ? 3 : i % 2 == 0 ? 1 : 5), 1);
    pace.on_end();
  }
  EXPECT_EQ(pace.outlook(), (std::vector<double>{1, 2, 5, 5}));
  EXPECT_DOUBLE_EQ(pace.factor(), 3.25);
  pace.learn(4);
  EXPECT_EQ(pace.outlook(), (std::vector<double>{4, 4, 5, 5}));
}

// Two copies of 2 s alone that were under way together from 0 to 6 s, then one that had the link to itself.
TEST(CopyPace, TimeUnderWayByTimeAlone) {
  CopyPace pace;
  EXPECT_EQ(pace.factor(), 1);
  pace.on_submit(at(0), Duration::seconds(2));
  pace.on_submit(at(1), Duration::seconds(2));
  pace.on_done(at(5));
  EXPECT_EQ(pace.factor(), 1) << "not known before both are through";
  pace.on_done(at(6));
  EXPECT_DOUBLE_EQ(pace.factor(), 1.5);
  pace.on_submit(at(10), Duration::seconds(2));
  pace.on_done(at(12));
  EXPECT_DOUBLE_EQ(pace.factor(), (0.98 * 6 + 2) / (0.98 * 4 + 2));
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

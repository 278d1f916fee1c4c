#include <gtest/gtest.h>

#include <chrono>

#include "validate/busy_time.h"
#include "validate/measure_in_turns.h"

namespace alchemist {
namespace {

// Whatever the cases take: the first round is in the order given, the next in the order of what that one took, and each
// one after that is the reverse of the one before.
TEST(MeasureInTurns, GoesUpAndDown) {
  std::vector<int> ran;
  std::vector<TimedCase> cases;
  for (int i = 0; i < 4; ++i) cases.push_back({[&ran, i] { ran.push_back(i); }});
  std::vector<std::size_t> ran_by_round;
  SampleLog log(false);
  log.add_case();
  const auto logged = measure_in_turns(cases, 3, log, [&] { ran_by_round.push_back(ran.size()); });
  EXPECT_EQ(logged, (std::vector<std::size_t>{1, 2, 3, 4}));
  ASSERT_EQ(ran.size(), 4U * 4U);
  EXPECT_EQ(ran_by_round, (std::vector<std::size_t>{4, 8, 12, 16}));
  const auto round = [&](int index) { return std::vector(ran.begin() + 4 * index, ran.begin() + 4 * (index + 1)); };
  EXPECT_EQ(round(0), (std::vector{0, 1, 2, 3}));
  std::vector<int> up = round(1), down = round(2);
  EXPECT_EQ(up, round(3));
  std::reverse(down.begin(), down.end());
  EXPECT_EQ(up, down);
  std::sort(up.begin(), up.end());
  EXPECT_EQ(up, round(0));
}

// Of two runs in a row the first takes 2 ms or more, the second nothing.
TEST(MeasureInTurns, WhatFollowsItselfIsTimedTheLastTime) {
  int calls = 0;
  const auto slow_at_first = [&] {
    const auto start = std::chrono::steady_clock::now();
    for (++calls; calls % 2 == 0 && std::chrono::steady_clock::now() - start < std::chrono::milliseconds(2);) continue;
  };
  SampleLog log(false);
  measure_in_turns({{slow_at_first, 1}}, 5, log);
  EXPECT_LT(log.result().timings.front().median, 2'000);
  EXPECT_EQ(calls, 11) << "once to begin with, then twice a round";
  measure_in_turns({{[&] { ++calls; }, 2}}, 5, log);
  EXPECT_EQ(calls, 11 + 1 + 5 * 3);
}

TEST(BusyTime, CountsWhatOverlapsOnce) {
  BusyTime busy;
  const auto at = [](std::int64_t ms) { return Time() + Duration::milliseconds(ms); };
  EXPECT_EQ(busy.until(at(5)), Duration());
  busy.begin(at(10));
  busy.begin(at(12));
  EXPECT_EQ(busy.until(at(13)), Duration::milliseconds(3));
  busy.end(at(15));
  EXPECT_EQ(busy.until(at(16)), Duration::milliseconds(6));
  busy.end(at(20));
  EXPECT_EQ(busy.until(at(30)), Duration::milliseconds(10));
  busy.begin(at(40));
  EXPECT_EQ(busy.until(at(41)), Duration::milliseconds(11));
}

TEST(TimingOf, TakesQuantilesOfTheSorted) {
  const Timing timing = timing_of({5, 1, 4, 2, 3, 11, 10, 9, 8, 7, 6});
  EXPECT_EQ(timing.p10, 2);
  EXPECT_EQ(timing.median, 6);
  EXPECT_EQ(timing.p90, 10);
}

TEST(TimingOf, MedianOfAnEvenNumberIsTheMeanOfTheMiddleTwo) {
  EXPECT_EQ(timing_of({7}).median, 7);
  EXPECT_EQ(timing_of({5, 2}).median, 3.5);
  const Timing timing = timing_of({10, 2, 1, 4, 9, 3});
  EXPECT_EQ(timing.median, 3.5);
  EXPECT_EQ(timing.p10, 2) << "the sample nearest to it, 0.5 rounded up";
  EXPECT_EQ(timing.p90, 10);
}

}  // namespace
}  // namespace alchemist

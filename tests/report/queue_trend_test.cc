// Which runs are told to be saturated: single servers, whose load is known.
#include "sim/report/queue_trend.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "sim/base/random.h"
#include "tests/report/fixtures.h"

namespace alchemist {
namespace {

// `requests` arrive with gamma gaps of this coefficient of variation (0: all the same), each is served in one second.
bool saturated(double load, double cv, int requests, std::uint64_t seed = 0) {
  RandomStream random(seed, "test");
  QueueTrend trend;
  double arrived = 0, free_at = 0;
  for (int i = 0; i < requests; ++i) {
    const double scheduled = std::max(arrived, free_at);
    free_at = scheduled + 1;
    RequestOutcome o;
    o.arrived = Time() + Duration::seconds(arrived);
    o.scheduled = Time() + Duration::seconds(scheduled);
    o.finished = Time() + Duration::seconds(free_at);
    trend.add(o);
    arrived += cv == 0 ? 1 / load : random.gamma(1 / (cv * cv), cv * cv / load);
  }
  return trend.saturated();
}

int saturated_of(int seeds, double load, double cv, int requests) {
  int count = 0;
  for (int seed = 0; seed < seeds; ++seed) count += saturated(load, cv, requests, static_cast<std::uint64_t>(seed));
  return count;
}

TEST(QueueTrend, WithoutNoiseAnyOverloadTells) {
  EXPECT_FALSE(saturated(0.9, 0, 1'000));
  EXPECT_FALSE(saturated(1, 0, 1'000));
  EXPECT_TRUE(saturated(1.02, 0, 1'000));
  EXPECT_TRUE(saturated(1.049, 0, 200'000));
  EXPECT_TRUE(saturated(1.2, 0, 10));
  EXPECT_FALSE(saturated(1.2, 0, 9)) << "too few to tell";
}

TEST(QueueTrend, AStableQueueIsNot) {
  constexpr int kSeeds = 100;
  for (const double load : {0.5, 0.8, 0.95}) {
    for (const double cv : {1, 4}) {
      for (const int requests : {30, 100, 300, 1'000, 3'000}) {
        EXPECT_LE(saturated_of(kSeeds, load, cv, requests), 1) << load << ' ' << cv << ' ' << requests;
      }
      EXPECT_EQ(saturated_of(3, load, cv, 100'000), 0) << load << ' ' << cv;
    }
  }
}

TEST(QueueTrend, SustainedOverloadIs) {
  struct Case {
    double load, cv;
    int requests;
  };
  for (const Case& c : {Case{1.7, 1, 300},
                        {1.4, 1, 1'000},
                        {1.1, 1, 10'000},
                        {1.05, 1, 40'000},
                        {1.7, 4, 4'000},
                        {1.3, 4, 20'000},
                        {1.1, 4, 150'000}}) {
    const int seeds = c.requests < 5'000 ? 40 : 10;
    EXPECT_EQ(saturated_of(seeds, c.load, c.cv, c.requests), seeds) << c.load << ' ' << c.cv << ' ' << c.requests;
  }
}

// A queue that grows for the first two fifths of the run, and then stays as it is: far more than noise does.
TEST(QueueTrend, WhatFillsUpAndStaysIsNot) {
  for (const bool stays : {true, false}) {
    QueueTrend trend;
    for (int i = 0; i < 1'000; ++i) {
      trend.add(outcome(static_cast<std::uint32_t>(i), 100 * i, 20 * (stays ? std::min(i, 400) : i), 20 * i, 0, 1));
    }
    EXPECT_EQ(trend.saturated(), !stays);
  }
}

// The wait grows by 20 ms with each request, from 0 to 380 ms: by as much as at saturation, but less than a quarter of
// what a request takes, 10 s, in which any queue may grow.
TEST(QueueTrend, AGrowthFarBelowARequestsTimeIsNot) {
  QueueTrend trend;
  for (int i = 0; i < 20; ++i) {
    RequestOutcome o = outcome(static_cast<std::uint32_t>(i), 100 * i, 20 * i, 20 * i, 0, 1);
    o.finished = o.first_token + Duration::seconds(10);
    trend.add(o);
  }
  EXPECT_FALSE(trend.saturated());
}

// Waits that grow from 0 to 2.66 s: just more than a quarter of the 10 s that a request takes once it is scheduled.
TEST(QueueTrend, TheTimeOfARequestIsThatInService) {
  for (const auto& [step, expected] : {std::pair(140, true), std::pair(130, false)}) {
    QueueTrend trend;
    for (int i = 0; i < 20; ++i) {
      RequestOutcome o = outcome(static_cast<std::uint32_t>(i), 100 * i, step * i, step * i, 0, 1);
      o.finished = o.scheduled + Duration::seconds(10);
      trend.add(o);
    }
    EXPECT_EQ(trend.saturated(), expected) << step;
  }
}

// Outcomes may come in any order: with feedback they do in that of training.
TEST(QueueTrend, TheOrderOfOutcomesDoesNotMatter) {
  QueueTrend forward, backward;
  for (int i = 0; i < 500; ++i) {
    const auto at = [](int n) { return outcome(static_cast<std::uint32_t>(n), 10 * n, 3 * n, 3 * n + 10, 0, 1); };
    forward.add(at(i));
    backward.add(at(499 - i));
  }
  EXPECT_TRUE(forward.saturated());
  EXPECT_TRUE(backward.saturated());
}

}  // namespace
}  // namespace alchemist

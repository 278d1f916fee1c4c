// Samples of a machine whose speed changes, told as at one speed.
#include "validate/sample_log.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>

namespace alchemist {
namespace {

// Two cases of three samples. The medians, 10 and 100, would have taken 330; the disturbed samples made it 396.
TEST(SampleLog, DisturbanceIsTheTimeOfAllOverThatOfTheirMedians) {
  SampleLog log(false);
  EXPECT_EQ(log.result().disturbance, 1);
  for (const std::vector<double>& us : {std::vector<double>{10, 26, 10}, std::vector<double>{150, 100, 100}}) {
    const std::size_t of_case = log.add_case();
    for (const double sample : us) log.add(of_case, sample, 0);
  }
  log.add_case();
  const SampleLog::Result result = log.result();
  EXPECT_DOUBLE_EQ(result.disturbance, 1.2);
  ASSERT_EQ(result.timings.size(), 3U);
  EXPECT_EQ(result.timings[0].median, 10);
  EXPECT_EQ(result.timings[1].median, 100);
  EXPECT_EQ(result.timings[2].median, 0) << "nobody measured it";
  EXPECT_EQ(result.speed.level, 0) << "nobody probed";
}

// One case is measured while the machine is slow, another while it is fast, a third all the time. Times go with the
// square root of the probe, which is 16 and then 8. Told at one speed the three cases take what they do beside each
// other, 10 : 20 : 30. Some probes are disturbed, which says nothing about the machine; smoothed, they and the change
// of speed blur their neighbours, which may cost 2 %. As measured `slow` and `fast` would be 41 % apart from that.
TEST(SampleLog, TellsAllCasesAtOneSpeed) {
  SampleLog log(true);
  const std::size_t slow = log.add_case(), fast = log.add_case(), both = log.add_case();
  for (int i = 0; i < 2'000; ++i) {
    const double probe = i < 1'000 ? 16 : 8;
    const std::size_t of_case = i % 2 == 0 ? both : i < 1'000 ? slow : fast;
    const double cost = of_case == both ? 30 : of_case == slow ? 10 : 20;
    log.add(of_case, cost * std::sqrt(probe), i % 100 == 99 ? 900 : probe);
  }
  const SampleLog::Result result = log.result();
  EXPECT_NEAR(result.speed.sensitivity, 0.5, 0.02);
  EXPECT_GT(result.speed.level, result.speed.slowness(8));
  EXPECT_LT(result.speed.level, result.speed.slowness(16));
  const double unit = result.timings[both].median / 30;
  EXPECT_GT(unit, std::sqrt(8));
  EXPECT_LT(unit, std::sqrt(16));
  EXPECT_NEAR(result.timings[slow].median, 10 * unit, 0.02 * 10 * unit);
  EXPECT_NEAR(result.timings[fast].median, 20 * unit, 0.02 * 20 * unit);
  EXPECT_NEAR(result.disturbance, 1, 0.01) << "the machine's speed is none";
}

TEST(SampleLog, TimesAndProbes) {
  SampleLog log(true);
  const std::size_t of_case = log.add_case();
  for (int i = 0; i < 3; ++i) {
    log.time(of_case, [] {
      const auto start = std::chrono::steady_clock::now();
      while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(2)) continue;
    });
  }
  EXPECT_GT(log.result().timings.front().p10, 1'000);
}

}  // namespace
}  // namespace alchemist

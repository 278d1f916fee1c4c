// What a probe of the machine's speed says about times measured beside it.
#include "validate/machine_speed.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

// Two cases, whose times go with the square root of the probe: 10 and 50 times it.
TEST(MachineSpeed, IsTheSlopeWithinTheCases) {
  const SpeedLaw law = fit_speed({{20, 40, 30}, {100, 200}}, {{4, 16, 9}, {4, 16}});
  EXPECT_NEAR(law.sensitivity, 0.5, 1e-12);
  EXPECT_NEAR(law.slowness(16), 4, 1e-9);
}

// Slowness 2 for half of the samples and 4 for the others; a case with twice the median counts twice.
TEST(MachineSpeed, LevelIsTheMeanOfTheSamples) {
  EXPECT_NEAR(fit_speed({{2, 4}}, {{4, 16}}).level, 3, 1e-9);
  EXPECT_NEAR(fit_speed({{20, 40}, {10, 10, 10}}, {{4, 16}, {4, 4, 4}}).level, (30 * 2 + 30 * 4 + 30 * 2) / 90.0, 1e-9)
      << "each weighs as much as its case's median";
}

// The mean of 21 in a row, fewer at the ends. Most take 10; the one of 900 counts as 20.
TEST(MachineSpeed, ProbesAreSmoothed) {
  EXPECT_TRUE(smoothed_probes({}).empty());
  std::vector<double> probes(100, 10);
  probes[50] = 900;
  probes[99] = 16;
  const std::vector<double> smooth = smoothed_probes(probes);
  ASSERT_EQ(smooth.size(), probes.size());
  for (const std::size_t far : {0, 39, 61, 88}) EXPECT_DOUBLE_EQ(smooth[far], 10) << far;
  for (const std::size_t near : {40, 50, 60}) EXPECT_DOUBLE_EQ(smooth[near], 220.0 / 21) << near;
  EXPECT_DOUBLE_EQ(smooth[99], 116.0 / 11);
}

TEST(MachineSpeed, IsNotKnownOfAMachineThatNeverChanges) {
  EXPECT_EQ(fit_speed({}, {}).level, 0);
  EXPECT_EQ(fit_speed({{}, {20, 30, 25}}, {{}, {7, 7, 7}}).level, 0);
  EXPECT_EQ(fit_speed({{40, 20, 30}}, {{4, 16, 9}}).level, 0) << "nothing is faster where the machine is slower";
  EXPECT_EQ(fit_speed({{20, 40}}, {{10, 10.1}}).level, 0) << "a profile's reader takes no 70th power of a probe";
}

TEST(MachineSpeed, TheProbeTakesTime) { EXPECT_GT(speed_probe_us(), 0); }

}  // namespace
}  // namespace alchemist

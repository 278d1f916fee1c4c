// What a probe of the machine's speed says about times measured beside it.
#include "validate/machine_speed.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

namespace alchemist {
namespace {

// Two cases in turns, whose times go with the square root of the probe: 10 and 50 times it. For 100 samples the probe
// is 4, then 16. Some probes are disturbed, which says nothing about the machine.
TEST(MachineSpeed, IsTheSlopeWithinTheCases) {
  SpeedFit fit;
  for (int i = 0; i < 200; ++i) {
    const double probe = i < 100 ? 4 : 16;
    const bool disturbed = i % 7 == 6 && std::abs(i - 100) > 20;
    fit.add(static_cast<std::size_t>(i % 2), (i % 2 == 0 ? 10 : 50) * std::sqrt(probe), disturbed ? 1'000 : probe);
  }
  const SpeedLaw law = fit.fit();
  EXPECT_NEAR(law.sensitivity, 0.5, 1e-12);
  EXPECT_NEAR(law.slowness(16), 4, 1e-9);
}

// Level 2 for the first half of the samples and 4 for the second, in which operations take twice as long as well. Each
// counts by its case's median, which is the same for all of its samples.
TEST(MachineSpeed, LevelIsTheMeanOfTheSamples) {
  SpeedFit fit;
  for (int i = 0; i < 200; ++i) {
    const double probe = i < 100 ? 4 : 16;
    fit.add(0, std::sqrt(probe), probe);
  }
  EXPECT_NEAR(fit.fit().level, 3, 1e-9);
}

TEST(MachineSpeed, ProbesAreSmoothed) {
  EXPECT_TRUE(smoothed_probes({}).empty());
  EXPECT_EQ(smoothed_probes({5, 900, 7}), (std::vector<double>{7, 7, 7}));
  std::vector<double> steps(100, 1);
  steps.resize(200, 2);
  EXPECT_EQ(smoothed_probes(steps), steps) << "where the speed changes, it is seen at once";
}

TEST(MachineSpeed, IsNotKnownOfAMachineThatNeverChanges) {
  SpeedFit fit;
  EXPECT_EQ(fit.fit().level, 0);
  for (const double us : {20, 30, 25}) fit.add(0, us, 7);
  EXPECT_EQ(fit.fit().level, 0);
}

TEST(MachineSpeed, TheProbeTakesTime) { EXPECT_GT(speed_probe_us(), 0); }

}  // namespace
}  // namespace alchemist

// What a probe of the machine's speed says about times measured beside it.
#include "validate/machine_speed.h"

#include <gtest/gtest.h>

#include <cmath>

namespace alchemist {
namespace {

// Two cases whose times go with the square root of the probe. Level: 2 and 3 in the first case, of median 30, 4 and 2
// in the second, of median 400; three samples each.
TEST(MachineSpeed, IsTheSlopeWithinTheCases) {
  SpeedFit fit;
  fit.add({20, 30, 30}, {4, 9, 9});
  fit.add({400, 200, 400}, {16, 4, 16});
  const SpeedLaw law = fit.fit();
  EXPECT_NEAR(law.sensitivity, 0.5, 1e-12);
  EXPECT_NEAR(law.slowness(16), 4, 1e-12);
  EXPECT_NEAR(law.level, (30 * (2 + 3 + 3) + 400 * (4 + 2 + 4)) / (3.0 * 430), 1e-12);
}

TEST(MachineSpeed, IsNotKnownOfAMachineThatNeverChanges) {
  SpeedFit fit;
  EXPECT_EQ(fit.fit().level, 0);
  fit.add({20, 30, 25}, {7, 7, 7});
  EXPECT_EQ(fit.fit().level, 0);
}

TEST(MachineSpeed, TheProbeTakesTime) { EXPECT_GT(speed_probe_us(), 0); }

}  // namespace
}  // namespace alchemist

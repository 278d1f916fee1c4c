#include "sim/base/random.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

// Streams of one seed are independent of how much another stream has drawn, and differ by name and by seed.
TEST(RandomStream, IsNamedAndReproducible) {
  RandomStream arrivals(42, "arrivals"), again(42, "arrivals"), lengths(42, "lengths"), other_seed(43, "arrivals");
  const auto first = arrivals.bits();
  EXPECT_EQ(first, again.bits());
  EXPECT_NE(first, lengths.bits());
  EXPECT_NE(first, other_seed.bits());
}

// Means of 200,000 draws lie within five standard errors of the distribution's mean.
TEST(RandomStream, DistributionsHaveTheirMeans) {
  RandomStream stream(1, "test");
  constexpr int kDraws = 200'000;
  double exponential = 0, gamma = 0, normal = 0;
  for (int i = 0; i < kDraws; ++i) {
    exponential += stream.exponential(0.25);
    gamma += stream.gamma(4.0, 0.5);
    normal += stream.normal();
  }
  const double standard_error = 1.0 / std::sqrt(kDraws);
  EXPECT_NEAR(exponential / kDraws, 0.25, 5 * 0.25 * standard_error);
  EXPECT_NEAR(gamma / kDraws, 2.0, 5 * 1.0 * standard_error);  // deviation = sqrt(shape) * scale = 1
  EXPECT_NEAR(normal / kDraws, 0.0, 5 * standard_error);
}

}  // namespace
}  // namespace alchemist

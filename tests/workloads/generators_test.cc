#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "tests/workloads/support.h"
#include "workloads/arrivals.h"
#include "workloads/conversations.h"
#include "workloads/distributions.h"

namespace alchemist {
namespace {

struct Gaps {
  double mean = 0, cv = 0;
};

Gaps gaps_of(const ArrivalSpec& spec, int count) {
  const auto process = make_arrivals(spec, 7);
  double sum = 0, squares = 0;
  Time last;
  for (int i = 0; i < count; ++i) {
    const Time at = *process->next();
    EXPECT_GE(at, last);
    const double gap = (at - last).in_seconds();
    sum += gap;
    squares += gap * gap;
    last = at;
  }
  const double mean = sum / count;
  return {mean, std::sqrt(squares / count - mean * mean) / mean};
}

// Arrivals before `end`.
std::int64_t count_until(const ArrivalSpec& spec, double end, std::uint64_t seed) {
  const auto process = make_arrivals(spec, seed);
  std::int64_t count = 0;
  while (process->next()->in_seconds() < end) ++count;
  return count;
}

TEST(Arrivals, PoissonHasItsRateAndVariationOne) {
  // Standard errors of mean and cv over 200,000 gaps are about 0.22 %; five of them.
  const Gaps gaps = gaps_of(PoissonArrivals{4.0}, 200'000);
  EXPECT_NEAR(gaps.mean * 4.0, 1.0, 0.011);
  EXPECT_NEAR(gaps.cv, 1.0, 0.011);
}

TEST(Arrivals, GammaHasItsRateAndVariation) {
  for (double cv : {0.3, 1.0, 3.0}) {
    const Gaps gaps = gaps_of(GammaArrivals{10.0, cv}, 300'000);
    EXPECT_NEAR(gaps.mean * 10.0, 1.0, 5 * cv / std::sqrt(300'000.0));
    EXPECT_NEAR(gaps.cv / cv, 1.0, 0.03);
  }
}

TEST(Arrivals, FixedComesOnTheBeatWithoutDrift) {
  const auto process = make_arrivals(FixedArrivals{3.0}, 1);
  for (int i = 0; i < 3'000'000; ++i) process->next();
  EXPECT_EQ(process->next()->count_ns(), 1'000'000'000'000'000);  // the 3,000,000th after the first: 1,000,000 s
}

TEST(Arrivals, OnOffHasTheLongRunRateOfTheFormula) {
  const OnOffArrivals spec{20.0, 2.0, Duration::seconds(30), Duration::seconds(90)};
  EXPECT_DOUBLE_EQ(*mean_rate(ArrivalSpec(spec)), 6.5);  // (20 * 30 + 2 * 90) / 120
  // Per cycle of 120 s the count deviates mostly by the length of the on and off times: in the long run the variance of
  // the time on per second is 2 a^2 b^2 / (a + b)^3 with means a, b = 2 * 30^2 * 90^2 / 120^3 = 8.4; times (20 - 2)^2.
  const double seconds = 2e6, deviation = 18 * std::sqrt(8.4375 * seconds);
  EXPECT_NEAR(static_cast<double>(count_until(spec, seconds, 3)), 6.5 * seconds, 5 * deviation);
}

TEST(Arrivals, OnOffIsBurstierThanPoisson) {
  const OnOffArrivals spec{20.0, 0.0, Duration::seconds(10), Duration::seconds(10)};
  EXPECT_GT(gaps_of(spec, 100'000).cv, 1.5);
}

TEST(Arrivals, DiurnalIntegratesToItsRateOverAPeriodAndPeaksWhereItSays) {
  const DiurnalArrivals spec{10.0, 3.0, Duration::seconds(86'400), Duration::seconds(50'400)};
  const auto process = make_arrivals(ArrivalSpec(spec), 5);
  std::array<double, 24> hours{};
  double total = 0;
  for (Time at = *process->next(); at.in_seconds() < 86'400; at = *process->next()) {
    hours[static_cast<std::size_t>(at.in_seconds() / 3600)] += 1;
    total += 1;
  }
  EXPECT_NEAR(total, 864'000, 5 * std::sqrt(864'000.0));
  // The hours beside 14 h: 10 * 3600 * (1 + 0.5 * (sin x / x)), x = 2 pi / 24; those beside 2 h with the minus sign.
  const double x = 2 * M_PI / 24, swing = 0.5 * std::sin(x) / x;
  EXPECT_NEAR((hours[13] + hours[14]) / 2, 36'000 * (1 + swing), 700);
  EXPECT_NEAR((hours[1] + hours[2]) / 2, 36'000 * (1 - swing), 500);
}

TEST(Arrivals, SetRateKeepsTheShape) {
  WorkloadSpec spec =
      generated(OnOffArrivals{20.0, 2.0, Duration::seconds(30), Duration::seconds(90)}, fixed_lengths(1, 1), 1);
  set_rate(spec, 13.0);
  const auto& arrivals = std::get<OnOffArrivals>(std::get<GeneratedWorkload>(spec.source).arrivals);
  EXPECT_DOUBLE_EQ(arrivals.rate_on, 40.0);
  EXPECT_DOUBLE_EQ(arrivals.rate_off, 4.0);
  spec = generated(ClosedLoopArrivals{3}, fixed_lengths(1, 1), 1);
  EXPECT_THROW(set_rate(spec, 1.0), ConfigError);
}

// On for 1 s of 4 on average, with 100 requests a second. A run begins in the midst of that: within its first 0.1 s
// there is one if it begins in an on-phase, a quarter of the runs, or if one begins meanwhile, a few percent of the
// others.
TEST(Arrivals, OnOffIsStationaryFromTheStart) {
  OnOffArrivals spec;
  spec.rate_on = 100;
  spec.rate_off = 0;
  spec.mean_on = Duration::seconds(1);
  spec.mean_off = Duration::seconds(3);
  int within = 0;
  for (std::uint64_t seed = 1; seed <= 2'000; ++seed) {
    within += *make_arrivals(spec, seed)->next() < Time() + Duration::milliseconds(100) ? 1 : 0;
  }
  EXPECT_NEAR(within, 0.27 * 2'000, 0.05 * 2'000);
}

TEST(Lengths, LognormalMedianAndSpread) {
  TokenSampler sampler(LognormalTokens{900, 0.8});
  RandomStream random(1, "test");
  std::vector<double> logs;
  for (int i = 0; i < 100'000; ++i) logs.push_back(std::log(sampler.draw(random)));
  std::sort(logs.begin(), logs.end());
  EXPECT_NEAR(std::exp(logs[50'000]), 900, 15);
  EXPECT_NEAR(std::exp(logs[84'134]), 900 * std::exp(0.8), 40);  // one deviation above
}

TEST(Lengths, UniformReachesBothEnds) {
  TokenSampler sampler(UniformTokens{3, 6});
  RandomStream random(1, "test");
  std::map<int, int> count;
  for (int i = 0; i < 40'000; ++i) ++count[sampler.draw(random)];
  ASSERT_EQ(count.size(), 4U);
  for (int k = 3; k <= 6; ++k) EXPECT_NEAR(count[k], 10'000, 450);
}

TEST(Lengths, ZipfFollowsThePowerLaw) {
  TokenSampler sampler(ZipfTokens{1.0, 1, 4});
  RandomStream random(1, "test");
  std::map<int, int> count;
  for (int i = 0; i < 100'000; ++i) ++count[sampler.draw(random)];
  // Weights 1, 1/2, 1/3, 1/4 sum to 25/12.
  EXPECT_NEAR(count[1], 48'000, 800);
  EXPECT_NEAR(count[2], 24'000, 700);
  EXPECT_NEAR(count[4], 12'000, 550);
}

TEST(Lengths, QuantileTableInterpolatesInLogarithms) {
  const QuantileTable table({0, 0.5, 1}, {1, 100, 10'000});
  EXPECT_NEAR(table.at(0), 100, 1e-9);
  EXPECT_NEAR(table.at(2), 1000, 1e-9);  // half of the way to 4 deviations, geometric mean of 100 and 10,000
  EXPECT_NEAR(table.at(9), 10'000, 1e-7);
  EXPECT_NEAR(normal_quantile(0.975), 1.959963985, 1e-8);
}

TEST(Generated, SameSeedSameRequestsOtherSeedOthers) {
  const WorkloadSpec spec =
      generated(PoissonArrivals{5}, IndependentLengths{LognormalTokens{900, 0.8}, FixedTokens{5}}, 100);
  const auto a = requests_of(spec, 1), b = requests_of(spec, 1), c = requests_of(spec, 2);
  ASSERT_EQ(a.size(), 100U);
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].arrival, b[i].arrival);
    EXPECT_EQ(a[i].prompt_tokens, b[i].prompt_tokens);
  }
  EXPECT_NE(a[0].arrival, c[0].arrival);
}

TEST(Generated, LengthsDoNotDependOnTheRate) {
  const IndependentLengths lengths{LognormalTokens{900, 0.8}, LognormalTokens{100, 1}};
  const auto slow = requests_of(generated(PoissonArrivals{1}, lengths, 50));
  const auto fast = requests_of(generated(GammaArrivals{9, 3}, lengths, 50));
  for (std::size_t i = 0; i < slow.size(); ++i) {
    EXPECT_EQ(slow[i].prompt_tokens, fast[i].prompt_tokens);
    EXPECT_EQ(slow[i].output_tokens, fast[i].output_tokens);
  }
}

TEST(Generated, DurationEndsIt) {
  WorkloadSpec spec = generated(FixedArrivals{10}, fixed_lengths(1, 1), 1'000'000);
  spec.duration = Duration::seconds(2);
  EXPECT_EQ(requests_of(spec).size(), 20U);  // at 0, 0.1, ... 1.9
}

TEST(Generated, LimitsCutDown) {
  WorkloadSpec spec = generated(FixedArrivals{10}, fixed_lengths(100, 50), 3);
  auto& workload = std::get<GeneratedWorkload>(spec.source);
  workload.max_total_tokens = 90;
  for (const auto& r : requests_of(spec)) {
    EXPECT_EQ(r.prompt_tokens, 89);
    EXPECT_EQ(r.output_tokens, 1);
  }
}

TEST(Generated, EmpiricalDrawsTheRowsOfTheFile) {
  const TextFile file("rows.csv", "num_prefill_tokens,num_decode_tokens\n10,1\n20,2\n30,3\n");
  std::map<int, int> count;
  for (const auto& r : requests_of(generated(FixedArrivals{10}, EmpiricalLengths{trace_of(file.path())}, 3'000))) {
    EXPECT_EQ(r.prompt_tokens, 10 * r.output_tokens);  // rows stay together
    ++count[r.output_tokens];
  }
  for (int k = 1; k <= 3; ++k) EXPECT_NEAR(count[k], 1'000, 130);
}

}  // namespace
}  // namespace alchemist

// Waiting times against queueing theory. One request at a time (max_num_seqs 1) with one output token makes a replica a
// single server whose service time S is its prompt's, and Poisson arrivals of rate lambda make it an M/G/1 queue. With
// the load rho = lambda E[S], the mean wait from arrival to the start of service is (Pollaczek-Khinchine)
//
//   W = lambda E[S^2] / (2 (1 - rho)),   for fixed prompts (M/D/1): W = rho S / (2 (1 - rho)).
//
// Confidence: R independent replications, each under a seed of its own and without its first requests, give R means;
// their mean has the interval t * deviation / sqrt(R), with Student's t for 99 % and R - 1 degrees of freedom.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "tests/engine/support.h"
#include "workloads/workload_source.h"

namespace alchemist {
namespace {

using testing::LinearCost;
using testing::small_config;

constexpr int kReplications = 16;
constexpr double kStudent = 2.947;       // 99 %, two-sided, 15 degrees of freedom
constexpr std::int64_t kWarmUp = 2'000;  // requests: 10 relaxation times of 1 / (1 - rho)^2 services at rho = 0.9
constexpr std::int64_t kBaseNs = 50'000'000, kPerTokenNs = 100'000;  // S = 50 ms + 0.1 ms a token
constexpr std::int32_t kMaxPrompt = 8'192;

double service_seconds(double tokens) { return 1e-9 * (kBaseNs + kPerTokenNs * tokens); }

struct Moments {
  double mean = 0;    // E[S], s
  double square = 0;  // E[S^2], s^2
};

// Of the lengths as the workload draws them: round(median exp(sigma N)), at least 1, at most kMaxPrompt. So length k
// has the probability that the lognormal lies in [k - 1/2, k + 1/2), with the tails in 1 and in kMaxPrompt.
Moments lognormal_service(const LognormalTokens& lengths) {
  const auto below = [&](double x) {
    return 0.5 * std::erfc(-std::log(x / lengths.median) / (lengths.sigma * std::sqrt(2.0)));
  };
  Moments moments;
  for (std::int32_t k = 1; k <= kMaxPrompt; ++k) {
    const double p = (k == kMaxPrompt ? 1.0 : below(k + 0.5)) - (k == 1 ? 0.0 : below(k - 0.5));
    moments.mean += p * service_seconds(k);
    moments.square += p * service_seconds(k) * service_seconds(k);
  }
  return moments;
}

class MeanWait final : public RunObserver {
 public:
  void on_request_outcome(const RequestOutcome& outcome) override {
    if (++seen_ > kWarmUp) sum_ += (outcome.scheduled - outcome.arrived).in_seconds();
    service_ += (outcome.finished - outcome.scheduled).in_seconds();
  }
  double wait() const { return sum_ / static_cast<double>(seen_ - kWarmUp); }
  double service() const { return service_ / static_cast<double>(seen_); }
  std::int64_t seen() const { return seen_; }

 private:
  std::int64_t seen_ = 0;
  double sum_ = 0, service_ = 0;
};

struct Estimate {
  double wait = 0;
  double half_width = 0;  // of the 99 % interval
  double service = 0;     // mean
};

Estimate simulate(const TokenDistribution& prompts, double rate, std::int64_t requests) {
  GeneratedWorkload generated;
  generated.arrivals = PoissonArrivals{rate};
  generated.lengths = IndependentLengths{prompts, FixedTokens{1}};
  generated.max_prompt_tokens = kMaxPrompt;
  WorkloadSpec spec;
  spec.source = generated;
  spec.requests = kWarmUp + requests;
  SimulationConfig config = small_config(kMaxPrompt);
  config.serving.max_num_seqs = 1;
  config.serving.max_num_batched_tokens = kMaxPrompt;
  const LinearCost cost(kBaseNs, kPerTokenNs, 0);
  double sum = 0, squares = 0, service = 0;
  for (int seed = 1; seed <= kReplications; ++seed) {
    MeanWait observer;
    const auto workload = make_source(spec, static_cast<std::uint64_t>(seed));
    Simulation(config, cost, *workload, observer).run();
    EXPECT_EQ(observer.seen(), kWarmUp + requests);
    sum += observer.wait();
    squares += observer.wait() * observer.wait();
    service += observer.service();
  }
  Estimate estimate;
  estimate.wait = sum / kReplications;
  const double variance = (squares - sum * sum / kReplications) / (kReplications - 1);
  estimate.half_width = kStudent * std::sqrt(variance / kReplications);
  estimate.service = service / kReplications;
  return estimate;
}

// The estimate agrees with theory, and its interval is narrow enough that a wait `sharpness` off would not.
void expect_wait(const Estimate& estimate, double expected, double sharpness) {
  EXPECT_NEAR(estimate.wait, expected, estimate.half_width);
  EXPECT_LT(2 * estimate.half_width, sharpness * expected);
  ::testing::Test::RecordProperty("wait_over_theory", std::to_string(estimate.wait / expected));
  ::testing::Test::RecordProperty("half_width_over_theory", std::to_string(estimate.half_width / expected));
}

struct Load {
  double rho;
  std::int64_t requests;  // of each replication
  double sharpness;
};

class QueueingTheory : public ::testing::TestWithParam<Load> {};

// S = 50 ms + 500 * 0.1 ms = 100 ms. Mean waits: 0.3 * 100 / 1.4 = 21.43 ms, 0.7 * 100 / 0.6 = 116.7 ms,
// 0.9 * 100 / 0.2 = 450 ms.
TEST_P(QueueingTheory, FixedPromptsWaitAsInMD1) {
  const Load& load = GetParam();
  const double service = 0.1;
  const Estimate estimate = simulate(FixedTokens{500}, load.rho / service, load.requests);
  EXPECT_NEAR(estimate.service, service, 1e-9);
  expect_wait(estimate, load.rho * service / (2 * (1 - load.rho)), load.sharpness);
}

// Median 300, sigma 0.8: without rounding and truncation the mean length is 300 exp(0.32) = 413.1 and the mean square
// 300^2 exp(1.28) = 323,700, so E[S] = 91.3 ms and E[S^2] = 0.0025 + 2 * 0.05 * 0.04131 + 1e-8 * 323,700 = 0.00987 s^2;
// at rho = 0.7 the wait is 7.667 * 0.00987 / 0.6 = 126 ms.
TEST_P(QueueingTheory, LognormalPromptsWaitAsInMG1) {
  const Load& load = GetParam();
  const LognormalTokens lengths{300, 0.8};
  const Moments moments = lognormal_service(lengths);
  EXPECT_NEAR(moments.mean, 0.0913, 0.0001);
  EXPECT_NEAR(moments.square, 0.00987, 0.00003);
  const double rate = load.rho / moments.mean;
  const Estimate estimate = simulate(lengths, rate, load.requests);
  EXPECT_NEAR(estimate.service, moments.mean, 0.005 * moments.mean);
  expect_wait(estimate, rate * moments.square / (2 * (1 - load.rho)), load.sharpness);
}

INSTANTIATE_TEST_SUITE_P(Loads, QueueingTheory,
                         ::testing::Values(Load{0.3, 20'000, 0.05}, Load{0.7, 40'000, 0.05}, Load{0.9, 60'000, 0.15}),
                         [](const auto& load) {
                           return "Rho" + std::to_string(static_cast<int>(std::lround(100 * load.param.rho)));
                         });

}  // namespace
}  // namespace alchemist

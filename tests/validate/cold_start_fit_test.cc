// Figures of cold caches out of series that are made of them.
#include "validate/cold_start_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace alchemist {
namespace {

// `share` of a cold start of 900 us, of which each step pays 0.7 times what the one before did.
ColdCase series(ColdCause cause, double amount, double share) {
  ColdCase result{cause, amount, {}};
  for (int step = 0; step < 10; ++step) {
    const double us = share * 900 * std::pow(0.7, step);
    result.excess.push_back({us - 50, us, us + 500});
  }
  return result;
}

std::vector<ColdCase> measured(double prompt_limit, double idle_limit_us, double piece_limit = 700) {
  std::vector<ColdCase> cases = {series(ColdCause::kTraining, 0, 1)};
  for (const double tokens : {128, 256, 512})
    cases.push_back(series(ColdCause::kTraining, tokens, std::min(1.0, tokens / piece_limit)));
  for (const double tokens : {32, 64, 128, 256, 512})
    cases.push_back(series(ColdCause::kPrompt, tokens, std::min(1.0, tokens / prompt_limit)));
  for (const double ms : {1, 2, 5, 10, 20, 50})
    cases.push_back(series(ColdCause::kIdle, 1e3 * ms, std::min(1.0, 1e3 * ms / idle_limit_us)));
  return cases;
}

TEST(ColdStartFit, FindsTheFiguresAgain) {
  const ColdStartFit fit = fit_cold_start(measured(200, 8'000));
  EXPECT_NEAR(fit.first_us, 900, 1);
  EXPECT_NEAR(fit.steps, 1 / 0.3, 1e-6);
  EXPECT_NEAR(fit.piece_tokens, 700, 700 * 0.05);  // candidates are 5 % apart; beyond the largest that was measured
  EXPECT_NEAR(fit.prompt_tokens, 200, 200 * 0.05);
  EXPECT_NEAR(fit.idle_us, 8'000, 8'000 * 0.05);
}

TEST(ColdStartFit, WhatDoesNothingHasNoLimit) {
  std::vector<ColdCase> cases = measured(200, 8'000);
  for (ColdCase& c : cases) {
    if (c.cause != ColdCause::kPrompt) continue;
    for (Timing& excess : c.excess) excess = {-20, 0, 20};
  }
  const ColdStartFit fit = fit_cold_start(cases);
  EXPECT_EQ(fit.prompt_tokens, 0);
  EXPECT_NEAR(fit.idle_us, 8'000, 8'000 * 0.05);
}

// Steps behind training that noise has made quicker than warm ones: nothing is charged for anything.
TEST(ColdStartFit, NoiseIsNoColdStart) {
  std::vector<ColdCase> cases = measured(200, 8'000);
  for (Timing& excess : cases.front().excess) excess.median = -3;
  const ColdStartFit fit = fit_cold_start(cases);
  EXPECT_EQ(fit.first_us, 0);
  EXPECT_EQ(fit.steps, 1);
  EXPECT_EQ(fit.prompt_tokens, 0);
  EXPECT_EQ(fit.idle_us, 0);
  EXPECT_EQ(fit_cold_start({}).first_us, 0);
}

// A first step that is slow and none behind it.
TEST(ColdStartFit, OneStepMayBeAll) {
  std::vector<ColdCase> cases = {ColdCase{ColdCause::kTraining, 0, {{0, 40, 80}, {0, 0, 0}, {0, 0, 0}}}};
  const ColdStartFit fit = fit_cold_start(cases);
  EXPECT_NEAR(fit.first_us, 40, 1e-9);
  EXPECT_EQ(fit.steps, 1);
}

}  // namespace
}  // namespace alchemist

// `planned` by hand, against brute force, and against the other ways to restore.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/policy/restore_plan.h"
#include "tests/policy/support.h"

namespace alchemist {
namespace {

// Forward 2, backward 3, reload 5 of which lean 2, rebuild 1, head 1. With one layer recomputed and a total of P shares
// of gate and up reloaded, compute takes 2 + 1 + 3 * 3 + (2 - P) without a wait, and the link's last byte comes at
// 2 * 2 + 3 P, followed by two backwards: 14 - P = 10 + 3 P, so P = 1 and the step is 13. (No layer recomputed: 15 - P
// = 9 + 3 P gives 13.5; two: 15 - P with P <= 1 gives 14; three: 16.) The first delivery may not delay its own backward
// beyond 3.5, which leaves time for half of its gate and up.
TEST(Planned, ByHand) {
  const LayerTimes times{
      .layers = 3, .forward = 2, .backward = 3, .reload_full = 5, .reload_lean = 2, .rebuild_gate_up = 1, .head = 1};
  const RestorePlan plan = planned(times);
  EXPECT_EQ(plan.layers[0].source, LayerSource::recompute);
  EXPECT_EQ(plan.layers[1].source, LayerSource::reload);
  EXPECT_NEAR(plan.layers[1].gate_up_share, 0.5, 1e-12);
  EXPECT_NEAR(plan.layers[2].gate_up_share, 0.5, 1e-12);
  EXPECT_NEAR(step_seconds(plan, times), 13, 1e-12);
}

// Where lean records keep up and whole ones do not, link and compute keep pace in the middle layers at
// phi = (b + c - r_lean) / (r_gu + c) = (0.85 + 0.34 - 0.67) / (1.05 + 0.34).
TEST(Planned, KeepsPaceInTheSteadyState) {
  const LayerTimes times{.layers = 100,
                         .forward = 0.71,
                         .backward = 0.85,
                         .reload_full = 1.72,
                         .reload_lean = 0.67,
                         .rebuild_gate_up = 0.34};
  const RestorePlan plan = planned(times);
  for (int layer = 20; layer < 90; ++layer) {
    EXPECT_NEAR(plan.layers[layer].gate_up_share, 0.52 / 1.39, 1e-9) << layer;
  }
  // The first layers to arrive fill the pipeline; from then on compute never waits.
  EXPECT_LT(evaluate(plan, times).stall, times.reload_full);
}

TEST(Planned, ReloadsAllWhereTheLinkIsFree) {
  const LayerTimes times{.layers = 4, .forward = 1, .backward = 2, .rebuild_gate_up = 0.5};
  for (const LayerPlan& layer : planned(times).layers) {
    EXPECT_EQ(layer.source, LayerSource::reload);
    EXPECT_EQ(layer.gate_up_share, 1);
  }
  EXPECT_DOUBLE_EQ(step_seconds(planned(times), times), 8);
}

TEST(Planned, RecomputesAllWhereTheLinkIsHopeless) {
  const LayerTimes times{.layers = 4, .forward = 1, .backward = 2, .reload_full = 1e6, .reload_lean = 1e5};
  for (const LayerPlan& layer : planned(times).layers) EXPECT_EQ(layer.source, LayerSource::recompute);
  EXPECT_DOUBLE_EQ(step_seconds(planned(times), times), 12);
}

// Rebuilding for nothing: the lean record is all that is worth the link.
TEST(Planned, TakesLeanRecordsWhereRebuildingIsFree) {
  const LayerTimes times{.layers = 4, .forward = 1, .backward = 2, .reload_full = 5, .reload_lean = 2};
  EXPECT_DOUBLE_EQ(step_seconds(planned(times), times), 2 + 4 * 2);
}

// Gate and up cost nothing either way, so no share balances anything: arrival 1, backward 2.
TEST(Planned, WithoutACostOfGateAndUp) {
  const LayerTimes times{.layers = 1, .forward = 9, .backward = 2, .reload_full = 1, .reload_lean = 1};
  EXPECT_DOUBLE_EQ(step_seconds(planned(times), times), 3);
  EXPECT_EQ(step_seconds(planned(LayerTimes{.layers = 3}), LayerTimes{.layers = 3}), 0);
}

TEST(Planned, OneLayer) {
  const LayerTimes times{
      .layers = 1, .forward = 9, .backward = 2, .reload_full = 5, .reload_lean = 2, .rebuild_gate_up = 1};
  // Lean at 2, then 3 phi against 1 - phi: phi = 1/4, backward from 2.75.
  EXPECT_NEAR(planned(times).layers[0].gate_up_share, 0.25, 1e-12);
  EXPECT_NEAR(step_seconds(planned(times), times), 4.75, 1e-12);
}

// Tries every meeting layer and every share of gate and up on a grid of tenths; returns the shortest step.
template <class Step>
double grid_best(const RestoreProblem& problem, const Step& step_of) {
  double best = step_of(restore_detail::meet_at(problem, problem.times.layers));
  for (int m = restore_detail::lowest_meeting_layer(problem); m < problem.times.layers; ++m) {
    RestorePlan plan = restore_detail::meet_at(problem, m);
    std::vector<LayerPlan*> open;
    for (LayerPlan& layer : plan.layers) {
      if (layer.source == LayerSource::reload && problem.gate_up_recorded) open.push_back(&layer);
    }
    int points = 1;
    for (std::size_t i = 0; i < open.size(); ++i) points *= 11;
    for (int point = 0; point < points; ++point) {
      int rest = point;
      for (LayerPlan* layer : open) {
        layer->gate_up_share = rest % 11 / 10.0;
        rest /= 11;
      }
      best = std::min(best, step_of(plan));
    }
  }
  return best;
}

// How much a step can change when each share moves by half a grid step.
double grid_slack(const LayerTimes& times) {
  return 0.05 * times.layers * std::max(times.reload_full - times.reload_lean, times.rebuild_gate_up);
}

TEST(Planned, IsTheBestOfTheGrid) {
  RandomStream random(4, "grid");
  for (int i = 0; i < 300; ++i) {
    const RestoreProblem problem = random_problem(random, static_cast<int>(random.uniform_int(1, 4)));
    const double ours = step_seconds(planned(problem), problem);
    const double grid = grid_best(problem, [&](const RestorePlan& plan) { return step_seconds(plan, problem); });
    EXPECT_LE(ours, grid + 1e-9) << i;
    EXPECT_GE(ours, grid - grid_slack(problem.times)) << i;
  }
}

// Sources, shares, order of deliveries and order of compute all tried together: nothing beats the plan, although it
// rebuilds gate and up only just before they are used.
TEST(Planned, NoOrderOfAnyPlanIsBetter) {
  RandomStream random(5, "plans and orders");
  for (int i = 0; i < 100; ++i) {
    const LayerTimes times = random_times(random, 2);
    const double grid = grid_best(times, [&](const RestorePlan& plan) { return best_step_any_delivery(plan, times); });
    EXPECT_LE(step_seconds(planned(times), times), grid + 1e-9) << i;
  }
}

TEST(Planned, OfThreeLayersIsBestInAnyOrderOfDeliveries) {
  RandomStream random(6, "three layers");
  for (int i = 0; i < 60; ++i) {
    const LayerTimes times = random_times(random, 3);
    const RestorePlan plan = planned(times);
    EXPECT_NEAR(best_step_any_delivery(plan, times), step_seconds(plan, times), 1e-9) << i;
  }
}

// No plan is worse than a simpler one, and none beats the work that it cannot avoid.
TEST(Planned, OrderOfThePlans) {
  RandomStream random(7, "property");
  int better_than_race = 0, race_better = 0;
  for (int i = 0; i < 3000; ++i) {
    const RestoreProblem problem = random_problem(random, static_cast<int>(random.uniform_int(1, 100)));
    const LayerTimes& times = problem.times;
    const RestoreTimeline best = evaluate(planned(problem), problem);
    const double meeting = step_seconds(race(problem), problem);
    const double reloading = step_seconds(reload_all(problem), problem);
    const double recomputing = step_seconds(recompute_all(problem), problem);
    EXPECT_LE(best.step_seconds, meeting * (1 + 1e-11)) << i;
    EXPECT_LE(meeting, reloading) << i;
    EXPECT_LE(meeting, recomputing) << i;
    EXPECT_GE(best.step_seconds, times.layers * (times.backward + problem.fresh_forward) + times.head - 1e-9) << i;
    EXPECT_NEAR(best.compute_busy + best.stall, best.step_seconds, 1e-9 * best.step_seconds) << i;
    better_than_race += best.step_seconds < 0.99 * meeting;
    race_better += meeting < 0.99 * std::min(reloading, recomputing);
  }
  EXPECT_GT(better_than_race, 300);  // the orders above are not all equalities
  EXPECT_GT(race_better, 300);
}

// More of anything never makes the step longer: residency, and a faster link.
TEST(Planned, IsMonotone) {
  RandomStream random(8, "monotone");
  for (int i = 0; i < 500; ++i) {
    RestoreProblem problem = random_problem(random, static_cast<int>(random.uniform_int(1, 40)));
    const double before = step_seconds(planned(problem), problem);
    RestoreProblem faster = problem;
    faster.times.reload_full *= 0.8;
    faster.times.reload_lean *= 0.8;
    EXPECT_LE(step_seconds(planned(faster), faster), before * (1 + 1e-11)) << i;
    RestoreProblem resident = problem;
    for (LayerRecord& record : resident.records) record.absent_share *= 0.5;
    EXPECT_LE(step_seconds(planned(resident), resident), before * (1 + 1e-11)) << i;
  }
}

}  // namespace
}  // namespace alchemist

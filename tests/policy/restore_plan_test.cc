#include "sim/policy/restore_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "sim/base/check.h"
#include "tests/policy/support.h"

namespace alchemist {
namespace {

// Small round numbers: the link is the slow one (5 > 3).
LayerTimes three_layers() {
  return {
      .layers = 3, .forward = 2, .backward = 3, .reload_full = 5, .reload_lean = 2, .rebuild_gate_up = 1, .head = 1};
}

int meeting_layer(const RestorePlan& plan) {
  int m = 0;
  while (m < static_cast<int>(plan.layers.size()) && plan.layers[m].source == LayerSource::recompute) ++m;
  return m;
}

// Lean records arrive at 2, 7, 12, whole ones at 5, 10, 15. The head runs 2..3, backward 5..8, 10..13, 15..18. Compute
// is busy for 1 + 3 * 3 = 10 and waits for the other 8.
TEST(Evaluate, ReloadAllByHand) {
  const RestoreProblem problem(three_layers());
  const RestoreTimeline t = evaluate(reload_all(problem), problem);
  EXPECT_DOUBLE_EQ(t.layers[2].lean_ready, 2);
  EXPECT_DOUBLE_EQ(t.layers[2].ready, 5);
  EXPECT_DOUBLE_EQ(t.layers[2].backward_start, 5);
  EXPECT_DOUBLE_EQ(t.layers[1].ready, 10);
  EXPECT_DOUBLE_EQ(t.layers[1].backward_end, 13);
  EXPECT_DOUBLE_EQ(t.layers[0].ready, 15);
  EXPECT_DOUBLE_EQ(t.step_seconds, 18);
  EXPECT_DOUBLE_EQ(t.compute_busy, 10);
  EXPECT_DOUBLE_EQ(t.link_busy, 15);
  EXPECT_DOUBLE_EQ(t.stall, 8);
}

// Forward 3 * 2, head 1, backward 3 * 3; the link is idle.
TEST(Evaluate, RecomputeAllByHand) {
  const RestoreProblem problem(three_layers());
  const RestoreTimeline t = evaluate(recompute_all(problem), problem);
  EXPECT_DOUBLE_EQ(t.step_seconds, 16);
  EXPECT_DOUBLE_EQ(t.forward_busy, 6);
  EXPECT_DOUBLE_EQ(t.link_busy, 0);
  EXPECT_DOUBLE_EQ(t.stall, 0);
  EXPECT_DOUBLE_EQ(t.layers[0].ready, 2);
  EXPECT_DOUBLE_EQ(t.layers[2].ready, 6);
}

// Layer 0 recomputed 0..2, head 2..3. Layer 2 with half its gate and up: lean at 2, the half at 3.5; the other half is
// rebuilt 3..3.5, backward 3.5..6.5. Layer 1: lean at 5.5, half at 7, rebuilt 6.5..7, backward 7..10. Layer 0: 10..13.
TEST(Evaluate, PartOfGateAndUpByHand) {
  const RestoreProblem problem(three_layers());
  RestorePlan plan;
  plan.layers = {{LayerSource::recompute, 1}, {LayerSource::reload, 0.5}, {LayerSource::reload, 0.5}};
  const RestoreTimeline t = evaluate(plan, problem);
  EXPECT_DOUBLE_EQ(t.layers[2].backward_start, 3.5);
  EXPECT_DOUBLE_EQ(t.layers[1].lean_ready, 5.5);
  EXPECT_DOUBLE_EQ(t.layers[1].backward_start, 7);
  EXPECT_DOUBLE_EQ(t.step_seconds, 13);
  EXPECT_DOUBLE_EQ(t.rebuild_busy, 1);
  EXPECT_DOUBLE_EQ(t.stall, 0);
}

// Layer 2 resident, so the head runs at once, 0..1, and backward 1..4. Of layer 1 half the tokens come: 2.5, backward
// 4..7; layer 0 arrives at 7.5 and runs 7.5..10.5.
TEST(Evaluate, ResidentLayersAndShares) {
  RestoreProblem problem(three_layers());
  problem.records[2].absent_share = 0;
  problem.records[1].absent_share = 0.5;
  const RestorePlan plan = reload_all(problem);
  EXPECT_EQ(plan.layers[2].source, LayerSource::resident);
  const RestoreTimeline t = evaluate(plan, problem);
  EXPECT_DOUBLE_EQ(t.layers[2].backward_end, 4);
  EXPECT_DOUBLE_EQ(t.layers[1].ready, 2.5);
  EXPECT_DOUBLE_EQ(t.layers[0].ready, 7.5);
  EXPECT_DOUBLE_EQ(t.step_seconds, 10.5);
  // Recomputing charges the share too: 2 + 1 + 0, head 1, backward 9.
  EXPECT_DOUBLE_EQ(step_seconds(recompute_all(problem), problem), 13);
}

// The head gets the last layer's output from records, but of tokens for which that layer ran.
TEST(Evaluate, TheHeadsInputMayComeFromRecords) {
  LayerTimes times = three_layers();
  times.output = 0.5;
  RestoreProblem problem(times);
  EXPECT_DOUBLE_EQ(evaluate(reload_all(problem), problem).layers[2].backward_start, 5) << "2 + 1.5, and gate and up";
  EXPECT_DOUBLE_EQ(step_seconds(recompute_all(problem), problem), 16) << "nothing more";
  problem.records[2].absent_share = 0.5;
  EXPECT_DOUBLE_EQ(step_seconds(recompute_all(problem), problem), 2 + 2 + 1 + 1 + 0.25 + 9) << "of the resident half";
  for (LayerRecord& record : problem.records) record.absent_share = 0;
  EXPECT_DOUBLE_EQ(step_seconds(planned(problem), problem), 1.5 + 9);
}

// All resident but lean: head 1, then three times rebuild 1 and backward 3.
TEST(Evaluate, LeanRecordsAreRebuiltEvenWhereTheyAreResident) {
  RestoreProblem problem(three_layers());
  problem.gate_up_recorded = false;
  for (LayerRecord& record : problem.records) record.absent_share = 0;
  EXPECT_DOUBLE_EQ(step_seconds(planned(problem), problem), 13);
  // On the host: lean at 2, 4, 6; head 2..3, then the same 12 without a wait.
  for (LayerRecord& record : problem.records) record.absent_share = 1;
  EXPECT_DOUBLE_EQ(step_seconds(reload_all(problem), problem), 15);
  EXPECT_DOUBLE_EQ(evaluate(reload_all(problem), problem).link_busy, 6);
}

// Forward of the tokens without a record takes 3 * 4 = 12, while the link delivers until 15: head 12..13, backward
// 13..16, 16..19, 19..22. Nothing waits for the link any more.
TEST(Evaluate, FreshTokensRunWhileTheLinkDelivers) {
  RestoreProblem problem(three_layers());
  problem.fresh_forward = 4;
  const RestoreTimeline t = evaluate(reload_all(problem), problem);
  EXPECT_DOUBLE_EQ(t.forward_busy, 12);
  EXPECT_DOUBLE_EQ(t.layers[2].backward_start, 13);
  EXPECT_DOUBLE_EQ(t.step_seconds, 22);
  EXPECT_DOUBLE_EQ(t.stall, 0);
  EXPECT_EQ(meeting_layer(race(problem)), 0);
}

// Layer 1 is nowhere: it and layer 0 below it are recomputed by every policy.
// Of 3 layers the lowest is recomputed: its forward, 4 + 1, needs no keys. Those of the others are there at 3 and 6:
// forward ends at 9 and at 13 without waiting if the link is first, and at 6 + 4 behind keys of 6 each. Records follow
// the keys, 5 a layer; the head is free and backward takes 2.
TEST(Evaluate, FreshTokensWaitForTheKeysOfReloadedLayers) {
  RestoreProblem problem(LayerTimes{.layers = 3, .forward = 1, .backward = 2, .reload_full = 5, .reload_lean = 5});
  problem.fresh_forward = 4;
  problem.fresh_keys = 3;
  const RestorePlan plan = restore_detail::meet_at(problem, 1);
  RestoreTimeline timeline = evaluate(plan, problem);
  EXPECT_EQ(timeline.forward_busy, 13);
  EXPECT_EQ(timeline.link_busy, 2 * 3 + 2 * 5);
  EXPECT_EQ(timeline.layers[2].ready, 11);
  EXPECT_EQ(timeline.layers[1].ready, 16);
  EXPECT_EQ(timeline.layers[2].backward_start, 13);
  EXPECT_EQ(timeline.step_seconds, 16 + 2 * 2);

  problem.fresh_keys = 6;
  timeline = evaluate(plan, problem);
  EXPECT_EQ(timeline.forward_busy, 13);
  EXPECT_EQ(timeline.layers[2].ready, 17);
  EXPECT_EQ(timeline.step_seconds, 22 + 2 * 2);

  problem.fresh_keys = 20;
  problem.times.reload_full = problem.times.reload_lean = 0;
  EXPECT_EQ(evaluate(plan, problem).step_seconds, 44 + 3 * 2);
  EXPECT_EQ(evaluate(recompute_all(problem), problem).step_seconds, 3 * 5 + 3 * 2) << "nothing is brought";
}

TEST(Plans, LostLayersAreRecomputedWithThoseBelow) {
  RestoreProblem problem(three_layers());
  problem.records[1].on_host = false;
  for (const RestorePlan& plan : {reload_all(problem), race(problem), planned(problem)}) {
    EXPECT_EQ(plan.layers[0].source, LayerSource::recompute);
    EXPECT_EQ(plan.layers[1].source, LayerSource::recompute);
  }
  EXPECT_EQ(reload_all(problem).layers[2].source, LayerSource::reload);
  // With layer 0 resident the forward starts above it.
  problem.records[0].absent_share = 0;
  EXPECT_EQ(race(problem).layers[0].source, LayerSource::resident);
  EXPECT_DOUBLE_EQ(evaluate(reload_all(problem), problem).forward_busy, 2);
}

// Meeting at 0, 1, 2, 3 takes 18, 16, 14, 16; m f + head + L b = (L - m) r + (m + 1) b gives
// m = (3 (5 - 3) + 3 - 1) / (2 + 5 - 3) = 2 and 2 * 2 + 1 + 3 * 3 = 14.
TEST(Race, ByHand) {
  const RestoreProblem problem(three_layers());
  EXPECT_EQ(meeting_layer(race(problem)), 2);
  EXPECT_DOUBLE_EQ(step_seconds(race(problem), problem), 14);
}

// r <= b: the link keeps up, and the step is the first arrival and all of backward.
TEST(Race, ReloadsAllWhereTheLinkKeepsUp) {
  LayerTimes times = three_layers();
  times.reload_full = times.reload_lean = 2.5;
  times.head = 0;
  EXPECT_EQ(meeting_layer(race(times)), 0);
  EXPECT_DOUBLE_EQ(step_seconds(race(times), times), 2.5 + 3 * 3);
}

// For r > b the real meeting point m* = (L (r - b) + b - head) / (f + r - b) lets the step take m* f + head + L b; a
// whole number of layers costs at most one forward more, and no whole number does better.
TEST(Race, IsTheClosedFormUpToRounding) {
  RandomStream random(1, "race");
  int tried = 0;
  for (int i = 0; i < 2000; ++i) {
    LayerTimes t = random_times(random, static_cast<int>(random.uniform_int(2, 100)));
    t.reload_lean = 0;  // the head never waits
    t.output = 0;
    const double gap = t.reload_full - t.backward;
    const double m = (t.layers * gap + t.backward - t.head) / (t.forward + gap);
    if (gap <= 0 || m <= 0 || m > t.layers - 1) continue;
    ++tried;
    const double bound = m * t.forward + t.head + t.layers * t.backward;
    EXPECT_LT(std::abs(meeting_layer(race(t)) - m), 1 + 1e-9);
    EXPECT_GE(step_seconds(race(t), t), bound * (1 - 1e-12));
    EXPECT_LE(step_seconds(race(t), t), (bound + t.forward) * (1 + 1e-12));
  }
  EXPECT_GT(tried, 300);
}

// Compute is one resource: forward from below competes with backward from above. Forward first is the best order of
// all, for race's whole layers and for any share of gate and up; rebuilding these earlier would not help either.
TEST(Order, NoOrderOfComputeIsBetter) {
  RandomStream random(2, "order");
  for (int i = 0; i < 200; ++i) {
    const LayerTimes times = random_times(random, 4);
    for (int m = 0; m <= times.layers; ++m) {
      RestorePlan plan = restore_detail::meet_at(times, m);
      if (i % 2 == 1) {
        for (LayerPlan& layer : plan.layers) layer.gate_up_share = random.uniform();
      }
      EXPECT_NEAR(best_step(plan, times, deliveries(plan, times)), step_seconds(plan, times), 1e-9) << i << " " << m;
    }
  }
}

// Nor is any order of whole deliveries better than from the last layer down.
TEST(Order, NoOrderOfWholeDeliveriesIsBetter) {
  RandomStream random(3, "deliveries");
  for (int i = 0; i < 40; ++i) {
    const LayerTimes times = random_times(random, 3);
    for (int m = 0; m <= times.layers; ++m) {
      const RestorePlan plan = restore_detail::meet_at(times, m);
      EXPECT_NEAR(best_step_any_delivery(plan, times), step_seconds(plan, times), 1e-9) << i << " " << m;
    }
  }
}

TEST(Evaluate, RefusesImpossiblePlans) {
  RestoreProblem problem(three_layers());
  RestorePlan plan = reload_all(problem);
  plan.layers[2].source = LayerSource::recompute;  // its input comes from a layer that is still on the host
  EXPECT_THROW(evaluate(plan, problem), InternalError);
  plan = reload_all(problem);
  plan.layers[1].source = LayerSource::resident;
  EXPECT_THROW(evaluate(plan, problem), InternalError);
  plan = reload_all(problem);
  plan.layers[1].gate_up_share = 1.5;
  EXPECT_THROW(evaluate(plan, problem), InternalError);
  plan = reload_all(problem);
  plan.layers.pop_back();
  EXPECT_THROW(evaluate(plan, problem), InternalError);
  plan = reload_all(problem);
  problem.records[0].on_host = false;
  EXPECT_THROW(evaluate(plan, problem), InternalError);
}

TEST(Plans, RefuseImpossibleTimes) {
  const auto refused = [](LayerTimes times) {
    EXPECT_THROW(reload_all(times), InternalError);
    EXPECT_THROW(recompute_all(times), InternalError);
    EXPECT_THROW(race(times), InternalError);
    EXPECT_THROW(planned(times), InternalError);
  };
  LayerTimes times = three_layers();
  times.layers = 0;
  refused(times);
  times.layers = -1;
  refused(times);
  times = three_layers();
  times.forward = -1;
  refused(times);
  times = three_layers();
  times.head = std::numeric_limits<double>::quiet_NaN();
  refused(times);
  times = three_layers();
  times.reload_lean = times.reload_full + 1;
  refused(times);
}

}  // namespace
}  // namespace alchemist

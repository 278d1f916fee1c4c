// What several replicas did, as one training step.
#include "sim/engine/step_book.h"

#include <gtest/gtest.h>

#include "sim/base/check.h"
#include "tests/times.h"

namespace alchemist {
namespace {

Duration ms(std::int64_t count) { return Duration::milliseconds(count); }

TrainingStep part(std::int64_t scale) {
  return {.version = WeightVersion(3),
          .start = at_ms(100 / scale),
          .end = at_ms(500 + scale),
          .tokens = 1'000 * scale,
          .samples = scale,
          .restore_stall = ms(10 * scale),
          .forward = ms(20 * scale),
          .backward = ms(30 * scale),
          .gradient_wait = ms(40 * scale),
          .optimizer = ms(50 * scale),
          .gpu_time = ms(60 * scale),
          .redundant_forward = ms(5 * scale),
          .reused_tokens = 600 * scale,
          .recomputed_tokens = 400 * scale,
          .dropped_tokens = 7 * scale,
          .reusing_samples = 4 * scale,
          .version_lag_sum = 2 * scale};
}

void expect_step(const TrainingStep& step, std::int32_t replicas, std::int64_t sum) {
  EXPECT_EQ(step.version, WeightVersion(3));
  EXPECT_EQ(step.replicas, replicas);
  EXPECT_EQ(step.tokens, 1'000 * sum);
  EXPECT_EQ(step.samples, sum);
  EXPECT_EQ(step.restore_stall, ms(10 * sum / replicas));
  EXPECT_EQ(step.forward, ms(20 * sum / replicas));
  EXPECT_EQ(step.backward, ms(30 * sum / replicas));
  EXPECT_EQ(step.gradient_wait, ms(40 * sum / replicas));
  EXPECT_EQ(step.optimizer, ms(50 * sum / replicas));
  EXPECT_EQ(step.gpu_time, ms(60 * sum));
  EXPECT_EQ(step.redundant_forward, ms(5 * sum));
  EXPECT_EQ(step.reused_tokens, 600 * sum);
  EXPECT_EQ(step.recomputed_tokens, 400 * sum);
  EXPECT_EQ(step.dropped_tokens, 7 * sum);
  EXPECT_EQ(step.reusing_samples, 4 * sum);
  EXPECT_EQ(step.version_lag_sum, 2 * sum);
}

TEST(StepBook, AStepIsToldWhenTheLastReplicaHasEndedIt) {
  StepBook book(3);
  EXPECT_FALSE(book.rest());
  EXPECT_FALSE(book.add(part(2)));
  EXPECT_FALSE(book.add(part(1)));
  const auto step = book.add(part(3));
  ASSERT_TRUE(step);
  expect_step(*step, 3, 6);
  EXPECT_EQ(step->start, at_ms(33));
  EXPECT_EQ(step->end, at_ms(503));
  EXPECT_FALSE(book.rest());
  EXPECT_FALSE(book.add(part(1))) << "the next one";
}

TEST(StepBook, WhatTheRunCutOffCounts) {
  StepBook book(3);
  book.add(part(2));
  book.add(part(4));
  ASSERT_TRUE(book.rest());
  expect_step(*book.rest(), 2, 6);
}

TEST(StepBook, VersionsAreTheSame) {
  StepBook book(2);
  book.add(part(1));
  TrainingStep other = part(1);
  other.version = WeightVersion(4);
  EXPECT_THROW(book.add(other), InternalError);
}

}  // namespace
}  // namespace alchemist

// What a user is told of training that did not go as it might have been meant to.
#include "sim/app/training_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/app/support.h"
#include "tests/times.h"

namespace alchemist {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// On two GPUs, with records.
Experiment world_of(const std::string& keys) {
  return read_experiment(YamlValue::parse(
      "model: llama-3.2-1b\nhardware: h200\nworkload: {arrivals: {fixed: {rate: 2}}, lengths: {fixed: {prompt: "
      "900, output: 200}}, requests: 10}\ncluster: {gpus: 2}\npolicy: alchemist\n" +
          keys,
      "e.yaml"));
}

class TrainingWarnings : public ::testing::Test {
 protected:
  TrainingWarnings() : world_(world_of("training: {batch_tokens: 1000}\n")) {
    totals_.feedback_samples = totals_.trainer.queued_samples = 9;
    totals_.feedback_tokens = 1'000'000;
  }
  // After a step of 1,000 tokens, so many of which had a record.
  std::vector<std::string> after_a_step(std::int64_t reused) {
    TrainingStep step;
    step.tokens = 1'000;
    step.reused_tokens = reused;
    TrainingWatch watch;
    watch.on_training_step(step);
    return training_warnings(totals_, world_, watch);
  }
  ExperimentWorld world_;
  SimulationTotals totals_;
};

TEST_F(TrainingWarnings, HardlyAnythingIsLessThanOneInTwenty) {
  EXPECT_THAT(after_a_step(50), IsEmpty());
  EXPECT_THAT(after_a_step(49), ElementsAre(HasSubstr("hardly anything was reused: 4.9 %")));
}

// Each GPU may be at one batch when the run ends, and wait for another.
TEST_F(TrainingWarnings, WhatIsLeftIsMoreThanTwoBatchesOfEachGpu) {
  totals_.trainer.queued_tokens = 4'000;
  EXPECT_THAT(after_a_step(1'000), IsEmpty());
  totals_.trainer.queued_tokens = 4'001;
  EXPECT_THAT(after_a_step(1'000), ElementsAre(HasSubstr("does not keep up: 9 of 9 samples")));
}

TEST_F(TrainingWarnings, NothingTrainedIsToldInPlaceOfThat) {
  totals_.trainer.queued_tokens = 4'001;
  EXPECT_THAT(training_warnings(totals_, world_, TrainingWatch()),
              ElementsAre(HasSubstr("nothing was trained of the 9")));
  totals_.feedback_tokens = 999;
  EXPECT_THAT(training_warnings(totals_, world_, TrainingWatch()), ElementsAre(HasSubstr("no batch of 1000 tokens")));
  totals_.feedback_tokens = 1'000;
  EXPECT_THAT(training_warnings(totals_, world_, TrainingWatch()),
              ElementsAre(HasSubstr("no training step was complete")));
}

// Four decode steps in 40 ms: one of them takes longer than the gap that training may make.
TEST(TrainingWarningsOfGaps, AStepIsOneOfARun) {
  const ExperimentWorld world(world_of("training: {batch_tokens: 1000, max_itl: 9 ms}\n"));
  SimulationTotals totals;
  totals.feedback_samples = totals.trainer.queued_samples = 9;
  totals.feedback_tokens = 1'000'000;
  TrainingWatch watch;
  watch.on_serving_span({.start = at_ms(0), .end = at_ms(40), .steps = 4, .decodes = 3});
  EXPECT_THAT(training_warnings(totals, world, watch),
              ElementsAre(HasSubstr("shorter than a decode step alone takes (median 10.0 ms)")));
}

// Of memory that is 1.6 times what training holds, the lesser part is left.
TEST(TrainingWarningsOfMemory, MoreIsHeldThanLeft) {
  const ExperimentWorld all(world_of("training: {batch_tokens: 1000}\n"));
  const double token = all.config().kv_block_bytes.as_double() / all.config().serving.block_size;
  const auto warnings = [&](double times) {
    const auto tokens = static_cast<std::int64_t>(times * all.held_by_training().as_double() / token);
    const ExperimentWorld world(
        world_of("training: {batch_tokens: 1000}\nserving: {kv_cache_tokens: " + std::to_string(tokens) + "}\n"));
    TrainingStep step;
    step.tokens = step.reused_tokens = 1'000;
    TrainingWatch watch;
    watch.on_training_step(step);
    SimulationTotals totals;
    totals.feedback_samples = 1;
    return training_warnings(totals, world, watch);
  };
  EXPECT_THAT(warnings(1.6), ElementsAre(HasSubstr("of each serving GPU for good")));
  EXPECT_THAT(warnings(2.4), IsEmpty());
}

}  // namespace
}  // namespace alchemist

// What a user is told of training that did not go as it might have been meant to.
#include "sim/app/training_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/app/support.h"

namespace alchemist {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// On two GPUs, each of which trains batches of 1,000 tokens; with records.
class TrainingWarnings : public ::testing::Test {
 protected:
  TrainingWarnings()
      : world_(read_experiment(YamlValue::parse(
            "model: llama-3.2-1b\nhardware: h200\nworkload: {arrivals: {fixed: {rate: 2}}, lengths: {fixed: {prompt: "
            "900, output: 200}}, requests: 10}\ncluster: {gpus: 2}\ntraining: {batch_tokens: 1000}\npolicy: "
            "alchemist\n",
            "e.yaml"))) {
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
}

}  // namespace
}  // namespace alchemist

#include "sim/model/training_shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/base/check.h"

namespace alchemist {
namespace {

using ::testing::ElementsAre;

TrainingShape objective(TrainingObjective kind, bool reference) {
  TrainingShape training;
  training.objective = kind;
  training.reference_model = reference;
  training.group_size = 4;
  return training;
}

// A prompt of 100 tokens and one answer of 50: 150 forward, 150 backward. A reference model has no place in it.
TEST(ObjectiveTokens, Supervised) {
  const ObjectiveTokens tokens = objective_tokens(objective(TrainingObjective::sft, true), 100, {50});
  EXPECT_THAT(tokens.sequences, ElementsAre(150));
  EXPECT_EQ(tokens.forward, 150);
  EXPECT_EQ(tokens.backward, 150);
  EXPECT_EQ(tokens.reference_forward, 0);
  EXPECT_EQ(tokens.prompt_repeats, 0);
  EXPECT_EQ(tokens.forward_passes(), 1);
}

// Chosen 50 and rejected 30 behind two copies of the prompt: 150 + 130; the reference model forwards the same.
TEST(ObjectiveTokens, PreferencePair) {
  const ObjectiveTokens tokens = objective_tokens(objective(TrainingObjective::dpo, true), 100, {50, 30});
  EXPECT_THAT(tokens.sequences, ElementsAre(150, 130));
  EXPECT_EQ(tokens.forward, 280);
  EXPECT_EQ(tokens.backward, 280);
  EXPECT_EQ(tokens.reference_forward, 280);
  EXPECT_EQ(tokens.prompt_repeats, 100);
  EXPECT_EQ(tokens.forward_passes(), 2);
  EXPECT_EQ(objective_tokens(objective(TrainingObjective::dpo, false), 100, {50, 30}).forward_passes(), 1);
}

// Four answers to one prompt: 4 * 100 + 10 + 20 + 30 + 40; three of the four prompts are repeats.
TEST(ObjectiveTokens, Group) {
  const ObjectiveTokens tokens = objective_tokens(objective(TrainingObjective::grpo, false), 100, {10, 20, 30, 40});
  EXPECT_EQ(tokens.forward, 500);
  EXPECT_EQ(tokens.reference_forward, 0);
  EXPECT_EQ(tokens.prompt_repeats, 300);
}

TEST(ObjectiveTokens, ChecksTheNumberOfAnswers) {
  EXPECT_THROW(objective_tokens(objective(TrainingObjective::dpo, true), 100, {50}), InternalError);
  EXPECT_THROW(objective_tokens(objective(TrainingObjective::sft, true), 100, {0}), InternalError);
}

TEST(TrainingShape, NamesRoundTrip) {
  for (const LinearModule module : kLinearModules) EXPECT_EQ(parse_module(module_name(module)), module);
  EXPECT_FALSE(parse_module("qkv"));
}

}  // namespace
}  // namespace alchemist

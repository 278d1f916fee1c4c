// Whatever way activations take from serving to training in the real world, they are the right ones, and the books of
// requests, kernels, link and training are right.
#include <gtest/gtest.h>

#include <string>

#include "tests/validate/training_real_world.h"

namespace alchemist::testing {
namespace {

using Kind = ScriptedCall::Kind;

struct Case {
  const char* name;
  Decisions policy;
  // Records have room for two samples, and training begins when all nine are served.
  bool short_of_room = false;
};

std::vector<Case> cases() {
  using enum FreshActivations;
  const auto on_host = [](const char* record, const char* restore) {
    return Decisions{record, "pressure", "oldest", restore, "idle"};
  };
  return {
      {"recompute", kTemporal},
      {"checkpoint", {"none", "none", "none", "none", "idle", kCheckpoint}},
      {"offload", {"none", "none", "none", "none", "idle", kOffload}},
      {"resident", kReuse},
      {"answers", kReuseAnswers},
      {"lean", {"lean", "stay", "oldest", "none", "idle"}},
      {"reload", on_host("minimal", "reload"), true},
      {"reload_lean", on_host("lean", "reload"), true},
      {"recompute_host", on_host("minimal", "recompute"), true},
      {"race", on_host("minimal", "race"), true},
      {"planned", on_host("minimal", "planned"), true},
      {"hedged", on_host("minimal", "hedged"), true},
      {"eager", {"minimal", "eager", "oldest", "hedged", "headroom", kSpill}},
      {"adaptive", {"adaptive", "eager", "oldest", "planned", "headroom", kSpill}},
  };
}

class RealRunPolicies : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Policies, RealRunPolicies, ::testing::ValuesIn(cases()),
                         [](const auto& each) { return std::string(each.param.name); });

// The backward of every layer gets those of its tokens, of all nine samples.
TEST_P(RealRunPolicies, TrainsOnTheRightActivations) {
  TrainingRealWorld world(GetParam().policy);
  if (GetParam().short_of_room) {
    world.record_pages = 120;
    world.batch_tokens = 900;
  }
  const std::size_t steps = GetParam().short_of_room ? 1 : 3;
  world.estimated_link_rate = 5e9;
  world.change = [](SimulationConfig& config) {
    config.training->trainer.training.max_version_lag = config.training->trainer.kept_versions = 9;
  };
  world.run(samples(), world.until_trained(steps));
  EXPECT_EQ(world.message(), "");
  EXPECT_GT(world.model.right_stamps(), 0);
  EXPECT_EQ(world.model.wrong_stamps(), 0);
  EXPECT_EQ(world.model.wrong_versions(), 0);
  expect_times_of_requests(world);
  expect_all_calls_are_told(world);
  expect_link_books(world);
  expect_step_books(world);
  ASSERT_EQ(world.books.steps.size(), steps);
  EXPECT_EQ(world.sum(&TrainingStep::tokens), 900);
  EXPECT_EQ(world.sum(&TrainingStep::samples), kRequests);
  EXPECT_EQ(world.totals.trainer.samples, kRequests);
  EXPECT_EQ(world.totals.trainer.queued_samples, 0);
  EXPECT_EQ(world.totals.feedback_samples, kRequests);
  EXPECT_EQ(world.totals.feedback_tokens, 900);
  EXPECT_EQ(world.totals.feedback_prompt_tokens, 810);
  EXPECT_EQ(world.totals.feedback_answer_tokens, 90);
  EXPECT_EQ(world.tokens(Kind::kBackward, 0), 900);
  std::int64_t forward = 0;  // of a token in a layer
  for (const ScriptedCall& call : world.model.calls(Kind::kForward)) forward += call.tokens;
  const std::int64_t recomputed = world.sum(&TrainingStep::recomputed_tokens);
  EXPECT_GE(forward, 4 * recomputed);
  EXPECT_LT(forward, 4 * (recomputed + 6)) << "each of at most six micro-batches counts whole tokens";
  EXPECT_EQ(world.sum(&TrainingStep::reused_tokens) + recomputed, 900);
  std::int64_t recorded = 0;
  for (const auto& [id, outcome] : world.books.outcomes) {
    recorded += outcome.recorded_tokens;
    ASSERT_TRUE(outcome.trained_at);
    EXPECT_TRUE(
        std::ranges::any_of(world.books.steps, [&](const auto& step) { return step.end == outcome.trained_at; }));
  }
  EXPECT_EQ(world.totals.store.recorded > Bytes(), recorded > 0);
  EXPECT_EQ(world.replay().events + world.replay().commands, std::ssize(world.lines));
}

}  // namespace
}  // namespace alchemist::testing

// Records of answers, which decode makes as it computes them, in the simulated world.
#include "tests/engine/training_world.h"

namespace alchemist {
namespace {

using testing::kReuseAnswers;
using testing::make_request;
using testing::small_model;
using testing::TrainingObserver;
using testing::World;

// Which of its tokens an answer's record holds is known when the answer ends, be the next step planned by then or not.
TEST(RecordedAnswers, ReachTheLastInput) {
  for (const bool async : {false, true}) {
    for (const std::int32_t output : {2, 14, 15, 16, 78, 79, 80, 200}) {
      World world;
      world.async = async;
      TrainingObserver observer;
      world.run(kReuseAnswers, {make_request(at_ms(0), 50, output, 1), make_request(at_ms(5'000), 3, 1, 2)}, observer,
                4'000, 1.0, Duration::milliseconds(1));
      EXPECT_EQ(observer.outcomes.at(RequestId(0)).recorded_tokens, 50 + output - 1);
      ASSERT_EQ(observer.steps.size(), output < 10 ? 0u : 1u) << output;
      for (const TrainingStep& step : observer.steps) EXPECT_EQ(step.recomputed_tokens, 0) << async << output;
    }
  }
}

// Each of the ten decode steps, of 100 us + 1 us, writes a token's bytes once more.
TEST(RecordedAnswers, RecordingIsCharged) {
  World world;
  TrainingObserver observer;
  world.run(kReuseAnswers, {make_request(at_ms(0), 50, 11, 1)}, observer, 4'000, 0.0, Duration());
  const Duration recording = Duration::seconds((world.cost.record_bytes().minimal * 4).as_double() / 1e11);
  const RequestOutcome& outcome = observer.outcomes.at(RequestId(0));
  EXPECT_EQ(outcome.finished - outcome.first_token, 10 * (Duration::microseconds(101) + recording));
}

// Steps of decode runs one by one or several at once, planned ahead or not: the same.
TEST(RecordedAnswers, AreTheSameInRunsAndInSteps) {
  for (const bool async : {false, true}) {
    std::vector<RequestOutcome> outcomes[2];
    std::vector<TrainingStep> steps[2];
    for (const bool single_steps : {false, true}) {
      World world;
      world.async = async;
      world.single_steps = single_steps;
      world.record_pages = 800;
      std::vector<WorkloadRequest> requests;
      for (int i = 0; i < 30; ++i) {
        requests.push_back(make_request(at_ms(3 * i), 20 + 3 * i, 1 + 7 * i % 150, static_cast<std::uint64_t>(i + 1)));
      }
      TrainingObserver observer;
      world.run({"minimal", "eager", "oldest", "planned", "headroom", FreshActivations::kKeep, false, true}, requests,
                observer, 3'000, 1.0, Duration::milliseconds(5));
      for (const auto& [id, outcome] : observer.outcomes) outcomes[single_steps].push_back(outcome);
      steps[single_steps] = observer.steps;
    }
    ASSERT_EQ(outcomes[0].size(), 30u);
    ASSERT_EQ(outcomes[1].size(), 30u);
    std::int64_t answers = 0;
    for (std::size_t i = 0; i < 30; ++i) {
      EXPECT_EQ(outcomes[0][i].finished, outcomes[1][i].finished) << i;
      EXPECT_EQ(outcomes[0][i].trained_at, outcomes[1][i].trained_at) << i;
      EXPECT_EQ(outcomes[0][i].recorded_tokens, outcomes[1][i].recorded_tokens) << i;
      EXPECT_LT(outcomes[0][i].recorded_tokens, outcomes[0][i].prompt_tokens + outcomes[0][i].output_tokens) << i;
      answers += std::max<std::int64_t>(0, outcomes[0][i].recorded_tokens - outcomes[0][i].prompt_tokens);
    }
    EXPECT_GT(answers, 500);
    ASSERT_EQ(steps[0].size(), steps[1].size());
    for (std::size_t i = 0; i < steps[0].size(); ++i) EXPECT_EQ(steps[0][i].end, steps[1][i].end) << i;
  }
}

// Records of answers that are being decoded hold memory that the answers' own keys and values need later on. They give
// way, and nobody is preempted.
TEST(RecordedAnswers, GiveWayToServing) {
  World world;
  const Bytes page = small_model().kv_bytes_per_token() * 16;
  const auto run_pages = static_cast<std::int32_t>((world.cost.record_bytes().minimal * 4 * 64) / page) + 1;
  constexpr std::int32_t kRequests = 5, kBlocks = kRequests * 13;  // of 40 + 160 tokens each
  for (const bool async : {false, true}) {
    world.async = async;
    TrainingObserver observer;
    std::vector<WorkloadRequest> requests;
    for (int i = 0; i < kRequests; ++i) requests.push_back(make_request(at_ms(0), 40, 160, 10 + i));
    const SimulationTotals totals = world.run(kReuseAnswers, requests, observer, kBlocks + run_pages, 0.0, Duration());
    EXPECT_EQ(totals.completed, kRequests);
    std::int64_t answers = 0;
    for (const auto& [id, outcome] : observer.outcomes) {
      EXPECT_EQ(outcome.preemptions, 0);
      answers += std::max<std::int64_t>(0, outcome.recorded_tokens - 40);
    }
    EXPECT_GT(answers, 0) << "otherwise this tests nothing";
  }
}

// Two equal requests, one after the other. That the first answer is recorded costs its own steps alone.
TEST(RecordedAnswers, RecordingEndsWithTheAnswer) {
  World world;
  TrainingObserver observer;
  world.run(kReuseAnswers, {make_request(at_ms(0), 50, 11, 1), make_request(at_ms(100), 50, 11, 2)}, observer, 4'000,
            0.0, Duration());
  const RequestOutcome &first = observer.outcomes.at(RequestId(0)), &second = observer.outcomes.at(RequestId(1));
  EXPECT_EQ(first.finished - first.arrived, second.finished - second.arrived);
}

}  // namespace
}  // namespace alchemist

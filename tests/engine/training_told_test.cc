// What observers are told of training and of what it adds to serving.
#include "tests/engine/training_world.h"

namespace alchemist {
namespace {

using testing::kReuse;
using testing::kReuseAnswers;
using testing::kTemporal;
using testing::make_request;
using testing::small_model;
using testing::TrainingObserver;
using testing::World;

class SpanObserver final : public RunObserver {
 public:
  void on_serving_span(const ServingSpan& span) override { spans.push_back(span); }
  std::vector<ServingSpan> spans;
};

// Two equal prompts, one after the other: keeping their activations takes as long for the second as for the first.
TEST(TrainingTold, StepsTellTheirOwnRecording) {
  World world;
  SpanObserver observer;
  world.run(kReuse, {make_request(at_ms(0), 50, 1, 1), make_request(at_ms(100), 50, 1, 2)}, observer, 4'000, 0.0,
            Duration());
  ASSERT_EQ(observer.spans.size(), 2u);
  EXPECT_GT(observer.spans[0].recording, Duration());
  EXPECT_EQ(observer.spans[0].recording, observer.spans[1].recording);
}

// An answer of 11 tokens is decoded in 10 steps, each of which keeps the activations of the token that it computes. A
// run of several steps tells the recording of them all.
TEST(TrainingTold, ARunTellsTheRecordingOfAllItsSteps) {
  World world;
  SpanObserver observer;
  world.run(kReuseAnswers, {make_request(at_ms(0), 50, 11, 1)}, observer, 4'000, 0.0, Duration());
  const std::int64_t layers = small_model().layers;
  const Duration of_a_token = world.cost.recording(world.cost.record_bytes().minimal * layers);
  Duration decode;
  std::int64_t steps = 0, longest = 0;
  for (const ServingSpan& span : observer.spans) {
    if (span.prefill_tokens > 0) continue;
    decode += span.recording;
    steps += span.steps;
    longest = std::max<std::int64_t>(longest, span.steps);
  }
  EXPECT_EQ(steps, 10);
  EXPECT_GT(longest, 1) << "otherwise this tests nothing";
  EXPECT_EQ(decode, of_a_token * 10);
}

// Requests come faster than they are trained, so that weights change between a record and its use. A sample that used
// no record has no lag.
TEST(TrainingTold, OutcomesTellTheLagOfTheirSample) {
  for (const bool reuses : {true, false}) {
    World world;
    std::vector<WorkloadRequest> requests;
    for (int i = 0; i < 40; ++i) requests.push_back(make_request(at_ms(i), 50, 11, static_cast<std::uint64_t>(i + 1)));
    requests.push_back(make_request(at_ms(50'000), 3, 1, 99));
    TrainingObserver observer;
    world.run(reuses ? kReuse : kTemporal, requests, observer, 4'000, 1.0, Duration::milliseconds(1));
    std::int64_t of_outcomes = 0, of_steps = 0, with_lag = 0, with_record = 0;
    for (const auto& [id, outcome] : observer.outcomes) {
      of_outcomes += outcome.version_lag.value_or(0);
      with_lag += outcome.version_lag ? 1 : 0;
    }
    for (const TrainingStep& step : observer.steps) {
      of_steps += step.version_lag_sum;
      with_record += step.reusing_samples;
    }
    EXPECT_EQ(of_steps > 0, reuses) << "otherwise this tests nothing";
    EXPECT_EQ(of_outcomes, of_steps);
    EXPECT_EQ(with_lag, with_record);
  }
}

class MemoryObserver final : public RunObserver {
 public:
  void on_memory(ReplicaId, Time now, const MemoryUse& use) override {
    if (now >= from) most_kv = std::max(most_kv, use.kv);
    most_training = std::max(most_training, use.training);
    most_host = std::max(most_host, use.host);
  }
  Time from;
  Bytes most_kv, most_training, most_host;
};

// A copy of the prompt's record lies on the host, in whole pages.
TEST(TrainingTold, HostMemoryIsThatOfTheCopies) {
  World world;
  MemoryObserver observer;
  world.run({"minimal", "eager", "oldest", "reload", "idle"},
            {make_request(at_ms(0), 50, 3, 1), make_request(at_ms(500), 3, 1, 2)}, observer, 4'000, 0.0, Duration());
  const Bytes page = small_model().kv_bytes_per_token() * 16,
              token = world.cost.record_bytes().minimal * small_model().layers;
  const auto pages = [&](std::int64_t tokens) { return page * ((token * tokens + page - Bytes(1)) / page); };
  EXPECT_EQ(observer.most_host, pages(50) + pages(3));
}

// The first answer is there after 150 + 10 * 101 us; its sample is trained from 10 ms later on, and only the last
// request, of one block, has keys and values then.
TEST(TrainingTold, WorkingMemoryIsNoKeysAndValues) {
  World world;
  MemoryObserver observer;
  observer.from = at_ms(4);
  const SimulationTotals totals =
      world.run(kTemporal, {make_request(at_ms(0), 50, 11, 1), make_request(at_ms(5'000), 3, 1, 2)}, observer, 4'000,
                1.0, Duration::milliseconds(10));
  EXPECT_GT(observer.most_training, Bytes());
  const Bytes block = small_model().kv_bytes_per_token() * 16;
  EXPECT_EQ(observer.most_kv, block);
  EXPECT_EQ(totals.peak_kv, block * 4) << "the first request's 60 tokens";
}

}  // namespace
}  // namespace alchemist

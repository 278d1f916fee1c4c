// What observers are told of training and of what it adds to serving.
#include "tests/engine/training_world.h"

namespace alchemist {
namespace {

using testing::kReuse;
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
  }
  Time from;
  Bytes most_kv, most_training;
};

// The first answer is there after 150 + 10 * 101 us; its sample is trained from 10 ms later on, and only the last
// request, of one block, has keys and values then.
TEST(TrainingTold, WorkingMemoryIsNoKeysAndValues) {
  World world;
  MemoryObserver observer;
  observer.from = at_ms(4);
  world.run(kTemporal, {make_request(at_ms(0), 50, 11, 1), make_request(at_ms(5'000), 3, 1, 2)}, observer, 4'000, 1.0,
            Duration::milliseconds(10));
  EXPECT_GT(observer.most_training, Bytes());
  EXPECT_EQ(observer.most_kv, small_model().kv_bytes_per_token() * 16);
}

}  // namespace
}  // namespace alchemist

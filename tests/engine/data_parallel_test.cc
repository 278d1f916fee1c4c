// Replicas that train together, in the simulated world: they wait for each other's gradients and share the work.
#include <set>

#include "tests/engine/training_world.h"

namespace alchemist {
namespace {

using testing::kReuse;
using testing::kTemporal;
using testing::make_request;
using testing::TrainingObserver;
using testing::World;

// Keeps the run going until everything before it has been trained.
WorkloadRequest last_request() { return make_request(at_ms(20'000), 3, 1, 99); }

// An answer on each of two replicas, of 91 and of 41 tokens. Their training starts when feedback comes, 1 ms after the
// answers, and the short one waits for the long one: both update their weights at once, and that is one step.
TEST(DataParallel, WeightsWaitForTheSlowest) {
  World world;
  world.replicas = 2;
  world.batch_tokens = 40;
  TrainingObserver observer;
  world.run(kTemporal, {make_request(at_ms(0), 80, 11, 1), make_request(at_ms(0), 30, 11, 2), last_request()}, observer,
            4'000, 1.0, Duration::milliseconds(1));
  ASSERT_EQ(observer.steps.size(), 1u);
  const TrainingStep& step = observer.steps[0];
  EXPECT_EQ(step.replicas, 2);
  EXPECT_EQ(step.tokens, 91 + 41);
  EXPECT_EQ(step.samples, 2);
  Time backward_end[2], optimizer_start[2];
  for (const TrainingSpan& span : observer.pieces) {
    const std::uint32_t replica = span.replica.value();
    if (span.phase == TrainingPhase::kBackward) backward_end[replica] = span.end;
    if (span.phase == TrainingPhase::kOptimizer) optimizer_start[replica] = span.start;
  }
  EXPECT_LT(backward_end[1], backward_end[0]);
  EXPECT_EQ(optimizer_start[0], backward_end[0]);
  EXPECT_EQ(optimizer_start[1], backward_end[0]);
  EXPECT_EQ(step.gradient_wait, Duration::nanoseconds((backward_end[0] - backward_end[1]).count_ns() / 2));
}

// One replica serves and two train: they take turns with the samples.
TEST(DataParallel, SeparateReplicasTakeTurns) {
  World world;
  world.training_replicas = 2;
  world.batch_tokens = 40;
  TrainingObserver observer;
  world.run({"none", "none", "none", "none", "whenever", FreshActivations::kKeep, true},
            {make_request(at_ms(0), 80, 11, 1), make_request(at_ms(0), 80, 11, 2), last_request()}, observer, 4'000,
            1.0, Duration::milliseconds(1));
  ASSERT_EQ(observer.steps.size(), 1u);
  EXPECT_EQ(observer.steps[0].tokens, 91 + 91);
  std::map<std::uint32_t, int> backward;
  for (const TrainingSpan& span : observer.pieces) {
    if (span.phase == TrainingPhase::kBackward) ++backward[span.replica.value()];
  }
  EXPECT_EQ(backward, (std::map<std::uint32_t, int>{{1, 5}, {2, 5}})) << "the head and four layers each";
}

// Feedback on replica 0 alone: replica 1 takes part without gradients, so that it has the same weights.
TEST(DataParallel, WhoHasNoFeedbackHoldsNobodyUp) {
  World world;
  world.replicas = 2;
  world.batch_tokens = 40;
  TrainingObserver observer;
  world.run(kTemporal, {make_request(at_ms(0), 80, 11, 1), last_request()}, observer, 4'000, 1.0,
            Duration::milliseconds(1));
  ASSERT_EQ(observer.steps.size(), 1u);
  EXPECT_EQ(observer.steps[0].tokens, 91);
  EXPECT_EQ(observer.steps[0].gradient_wait, Duration());
  std::multiset<std::uint32_t> updated;
  for (const TrainingSpan& span : observer.pieces) {
    if (span.phase == TrainingPhase::kOptimizer) updated.insert(span.replica.value());
  }
  EXPECT_EQ(updated, (std::multiset<std::uint32_t>{0, 1}));
}

// Twelve answers on each of two replicas, then a long one on replica 0, beside which training gets little time. Replica
// 1 takes over what replica 0 has not begun: the step is as large as without that, and ends earlier.
TEST(DataParallel, WhoWaitsTakesWorkOver) {
  World world;
  world.replicas = 2;
  world.batch_tokens = 366;  // 6 of 61 tokens, in two micro-batches
  std::vector<WorkloadRequest> requests;
  for (std::uint64_t i = 0; i < 24; ++i) requests.push_back(make_request(at_ms(0), 50, 11, i));
  requests.push_back(make_request(at_ms(90), 50, 4'000, 24));
  requests.push_back(last_request());
  int handed_over = 0;
  std::set<std::string> takers;
  world.record_events = [&](std::string_view line) {
    handed_over += line.find(" hand_over") != std::string_view::npos;
    if (line.find(" take_over ") != std::string_view::npos) takers.emplace(line.substr(0, line.find(' ')));
  };
  TrainingObserver observer;
  const SimulationTotals totals = world.run(kTemporal, requests, observer, 4'000, 1.0, Duration::milliseconds(100));
  ASSERT_GE(observer.steps.size(), 2u);
  EXPECT_GE(handed_over, 1);
  EXPECT_EQ(takers, std::set<std::string>{"1"});
  EXPECT_EQ(observer.steps[0].tokens, 2 * 366);
  std::int64_t samples = 0;
  for (const TrainingStep& step : observer.steps) samples += step.samples;
  EXPECT_EQ(samples, totals.trainer.samples);
  EXPECT_EQ(totals.trainer.samples + totals.trainer.queued_samples, totals.feedback_samples);
}

// Random conversations on three replicas: every sample is trained at most once, and runs of many steps give what single
// steps do, to the byte.
TEST(DataParallel, RunsEqualSteps) {
  int trained = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    RandomStream random(seed, "data parallel");
    std::vector<WorkloadRequest> requests;
    Time now;
    for (std::uint64_t i = 0; i < 40; ++i) {
      now = now + Duration::microseconds(random.uniform_int(0, 20'000));
      requests.push_back(make_request(now, static_cast<std::int32_t>(random.uniform_int(10, 100)),
                                      static_cast<std::int32_t>(random.uniform_int(1, 60)), i));
    }
    requests.push_back(last_request());
    std::string texts[2];
    for (const bool single : {false, true}) {
      World world;
      world.replicas = 3;
      world.async = seed % 2 == 0;
      world.single_steps = single;
      TrainingObserver observer;
      const auto totals = world.run(seed % 3 == 0 ? kTemporal : kReuse, requests, observer, 4'000, 0.7,
                                    Duration::milliseconds(30), seed);
      std::ostringstream text;
      std::int64_t samples = 0;
      for (const TrainingStep& step : observer.steps) {
        text << step.version.value() << ' ' << step.start.count_ns() << ' ' << step.end.count_ns() << ' ' << step.tokens
             << ' ' << step.gradient_wait.count_ns() << '\n';
        samples += step.samples;
      }
      for (const auto& [id, outcome] : observer.outcomes) {
        text << id.value() << ' ' << outcome.finished.count_ns() << ' '
             << outcome.trained_at.value_or(Time()).count_ns() << '\n';
        trained += outcome.trained_at.has_value();
      }
      EXPECT_EQ(samples, totals.trainer.samples) << "seed " << seed;
      EXPECT_EQ(samples + totals.trainer.queued_samples, totals.feedback_samples) << "seed " << seed;
      texts[single] = text.str();
    }
    EXPECT_EQ(texts[0], texts[1]) << "seed " << seed;
  }
  EXPECT_GT(trained, 20 * 40);
}

}  // namespace
}  // namespace alchemist

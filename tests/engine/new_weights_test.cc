// What serving does with keys and values that older weights have computed, in the simulated world.
#include "sim/base/random.h"
#include "tests/engine/training_world.h"

namespace alchemist {
namespace {

using testing::Decisions;
using testing::kReuse;
using testing::kTemporal;
using testing::make_request;
using testing::TrainingObserver;
using testing::World;

constexpr Decisions kSeparate{"none", "none", "none", "none", "whenever", FreshActivations::kKeep, true};

// Training beside serving without and with records, and on another GPU.
const Decisions* const kAll[] = {&kTemporal, &kReuse, &kSeparate};

// A conversation of three turns with 20 s in between. Each turn's feedback comes at once, and is trained before the
// next turn, if there is any.
struct Turns {
  std::vector<RequestOutcome> turns;
  std::size_t steps = 0;
};

Turns run_turns(const Decisions& decisions, bool reset, double share) {
  World world;
  world.reset_prefix_cache = reset;
  TrainingObserver observer;
  world.run(decisions,
            {make_request(at_ms(0), 80, 11, 1), make_request(at_ms(20'000), 96, 11, 1, 1),
             make_request(at_ms(40'000), 120, 11, 1, 2)},
            observer, 4'000, share, Duration::milliseconds(1));
  Turns result;
  for (const auto& [id, outcome] : observer.outcomes) result.turns.push_back(outcome);
  result.steps = observer.steps.size();
  return result;
}

// The first turn leaves 90 tokens in five blocks, the second one 106 in six.
TEST(NewWeights, HitsOnWhatOlderOnesComputedAreCounted) {
  for (const Decisions* decisions : kAll) {
    const Turns run = run_turns(*decisions, false, 1.0);
    ASSERT_EQ(run.steps, 2u);
    EXPECT_EQ(run.turns[1].prefix_hit_tokens, 80);
    EXPECT_EQ(run.turns[1].stale_prefix_tokens, 80);
    EXPECT_EQ(run.turns[2].prefix_hit_tokens, 96);
    EXPECT_EQ(run.turns[2].stale_prefix_tokens, 96);
  }
}

// From GPUs of its own training sends its weights to both GPUs that serve: conversations on either of them go on behind
// keys and values that are old.
TEST(NewWeights, GoToEveryServingGpu) {
  World world;
  world.replicas = 2;
  TrainingObserver observer;
  world.run(kSeparate,
            {make_request(at_ms(0), 80, 11, 1), make_request(at_ms(0), 80, 11, 2),
             make_request(at_ms(20'000), 96, 11, 1, 1), make_request(at_ms(20'000), 96, 11, 2, 1)},
            observer, 4'000, 1.0, Duration::milliseconds(1));
  ASSERT_GE(observer.steps.size(), 1u);
  ASSERT_LT(observer.steps[0].end, at_ms(20'000));
  EXPECT_NE(observer.outcomes[RequestId(2)].replica, observer.outcomes[RequestId(3)].replica);
  for (const std::uint32_t second_turn : {2, 3}) {
    EXPECT_EQ(observer.outcomes[RequestId(second_turn)].prefix_hit_tokens, 80);
    EXPECT_EQ(observer.outcomes[RequestId(second_turn)].stale_prefix_tokens, 80);
  }
}

TEST(NewWeights, NothingIsStaleWithoutTraining) {
  for (const Decisions* decisions : kAll) {
    for (const bool reset : {false, true}) {
      const Turns run = run_turns(*decisions, reset, 0);
      ASSERT_EQ(run.steps, 0u);
      EXPECT_EQ(run.turns[1].prefix_hit_tokens, 80);
      EXPECT_EQ(run.turns[2].prefix_hit_tokens, 96);
      EXPECT_EQ(run.turns[1].stale_prefix_tokens + run.turns[2].stale_prefix_tokens, 0);
    }
  }
}

TEST(NewWeights, AResetCacheIsNotHit) {
  for (const Decisions* decisions : kAll) {
    const Turns run = run_turns(*decisions, true, 1.0);
    ASSERT_EQ(run.steps, 2u);
    for (const RequestOutcome& turn : run.turns) EXPECT_EQ(turn.prefix_hit_tokens, 0);
  }
}

// A long answer is under way when new weights come, at about 4 ms. A request with the same beginning, at 50 ms,
// computes it anew; the next one finds what that has left, three blocks, and not the long answer's, which were computed
// behind keys and values of older weights. Without a reset it finds these: 24 blocks.
TEST(NewWeights, ARunningAnswerJoinsNoPrefixOfNewerOnes) {
  for (const bool reset : {false, true}) {
    World world;
    world.batch_tokens = 90;  // the short answer of 91 tokens; later ones are too short for another step
    world.reset_prefix_cache = reset;
    TrainingObserver observer;
    world.run(kSeparate,
              {make_request(at_ms(0), 32, 2'000, 1), make_request(at_ms(0), 80, 11, 2),
               make_request(at_ms(50), 60, 1, 1), make_request(at_ms(150), 400, 1, 1)},
              observer, 4'000, 1.0, Duration::milliseconds(1));
    ASSERT_FALSE(observer.steps.empty());
    ASSERT_LT(observer.steps[0].end, at_ms(50));
    ASSERT_TRUE(observer.steps.size() == 1 || observer.steps[1].end > at_ms(150));
    ASSERT_GT(observer.outcomes[RequestId(0)].finished, at_ms(200));
    const RequestOutcome& early = observer.outcomes[RequestId(2)];
    const RequestOutcome& late = observer.outcomes[RequestId(3)];
    EXPECT_EQ(early.prefix_hit_tokens, reset ? 0 : 48);
    EXPECT_EQ(late.prefix_hit_tokens, reset ? 48 : 384);
    if (reset) {
      EXPECT_EQ(late.stale_prefix_tokens, 0);
    } else {
      EXPECT_GE(late.stale_prefix_tokens, 32) << "the prompt, at least";
      EXPECT_LT(late.stale_prefix_tokens, 128) << "by 4 ms the answer had no more";
    }
  }
}

// Random conversations in a pool that is too small for them: runs of many steps give what single steps do, a reset
// cache is never hit where it is stale, and is hit less.
TEST(NewWeights, RunsEqualSteps) {
  std::int64_t hits[2] = {0, 0}, stale = 0;
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    RandomStream random(seed, "new weights");
    std::vector<WorkloadRequest> requests;
    Time now;
    for (int i = 0; i < 60; ++i) {
      now = now + Duration::microseconds(random.uniform_int(0, 20'000));
      requests.push_back(make_request(now, static_cast<std::int32_t>(random.uniform_int(10, 200)),
                                      static_cast<std::int32_t>(random.uniform_int(1, 60)),
                                      static_cast<std::uint64_t>(random.uniform_int(0, 8))));
    }
    for (const bool reset : {false, true}) {
      std::string texts[2];
      for (const bool single : {false, true}) {
        World world;
        world.reset_prefix_cache = reset;
        world.async = seed % 2 == 0;
        world.replicas = seed % 4 < 2 ? 1 : 2;
        world.single_steps = single;
        TrainingObserver observer;
        world.run(*kAll[seed % 3], requests, observer, 60, 0.7, Duration::milliseconds(5), seed);
        std::ostringstream text;
        for (const auto& [id, o] : observer.outcomes) {
          text << id.value() << ' ' << o.finished.count_ns() << ' ' << o.prefix_hit_tokens << ' '
               << o.stale_prefix_tokens << '\n';
          EXPECT_LE(o.stale_prefix_tokens, reset ? 0 : o.prefix_hit_tokens);
          hits[reset ? 1 : 0] += o.prefix_hit_tokens;
          stale += o.stale_prefix_tokens;
        }
        texts[single ? 1 : 0] = text.str();
      }
      EXPECT_EQ(texts[0], texts[1]) << seed;
    }
  }
  EXPECT_GT(stale, 0);
  EXPECT_LT(stale, hits[0]);
  EXPECT_LT(hits[1], hits[0]);
  EXPECT_GT(hits[1], 0);
}

}  // namespace
}  // namespace alchemist

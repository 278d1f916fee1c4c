// Training beside serving, in the simulated world.
#include <set>

#include "tests/engine/training_world.h"

namespace alchemist {
namespace {

using testing::Decisions;
using testing::kReuse;
using testing::kReuseAnswers;
using testing::kTemporal;
using testing::make_request;
using testing::small_model;
using testing::TrainingObserver;
using testing::World;

// A request of 50 + 11 tokens, and one that keeps the run going until the first has been trained.
std::vector<WorkloadRequest> one_sample() {
  return {make_request(at_ms(0), 50, 11, 1), make_request(at_ms(5'000), 3, 1, 2)};
}

// One request of 50 + 11 tokens gets its feedback 1 ms after its answer and is trained at once; a second request much
// later keeps the run going until then. Without records the step is 4 forward pieces and head, 4 backward pieces and
// the optimizer; with the prompt's record, forward is over the 11 tokens of the answer alone. With the answer's there
// is none: its last token, which no step had as its input, has no gradient. The head gets the hidden states of recorded
// tokens in front of answer tokens from their records. Every duration is the cost model's own; nothing else runs, so
// the step takes exactly their sum.
TEST(Training, OneSampleByHand) {
  World world;
  const std::vector<WorkloadRequest> requests = one_sample();
  const auto piece = [&](PieceKind kind, std::int64_t tokens, double keys, std::int64_t recorded_targets = 0) {
    TrainingPiece p;
    p.kind = kind;
    p.tokens = tokens;
    p.attended_keys = keys;
    p.recorded_targets = recorded_targets;
    if (kind == PieceKind::kOptimizer) p.parameters = world.cost.trained_parameters();
    return world.cost.piece(p);
  };
  struct Case {
    Decisions policy;
    std::int64_t reused;
    std::int64_t recorded;
    std::int64_t memory_for;  // tokens: of the answer, up to the end of a run of four blocks
  };
  constexpr double keys = 61 * 62 / 2.0;
  for (const Case& c : {Case{kTemporal, 0, 0, 0}, Case{kReuse, 50, 50, 50}, Case{kReuseAnswers, 61, 60, 64}}) {
    TrainingObserver observer;
    world.run(c.policy, requests, observer, 4'000, 1.0, Duration::milliseconds(1));
    ASSERT_EQ(observer.steps.size(), 1u);
    const TrainingStep& step = observer.steps[0];
    EXPECT_EQ(step.tokens, 61);
    EXPECT_EQ(step.recomputed_tokens, 61 - c.reused);
    EXPECT_EQ(step.reused_tokens, c.reused);
    const auto reused = static_cast<double>(c.reused);
    Duration forward;
    if (c.reused < 61) forward = 4 * piece(PieceKind::kForward, 61 - c.reused, keys - reused * (reused + 1) / 2);
    EXPECT_EQ(step.forward, forward);
    const std::int64_t targets = std::max<std::int64_t>(0, c.recorded - 49);  // tokens 49 to 59 have a target
    const Duration rest = piece(PieceKind::kHead, 11, keys, targets) + 4 * piece(PieceKind::kBackward, 61, keys) +
                          piece(PieceKind::kOptimizer, 0, 0);
    EXPECT_EQ(step.end - step.start, forward + rest);
    const RequestOutcome& outcome = observer.outcomes.at(RequestId(0));
    EXPECT_EQ(outcome.trained_at, step.end);
    EXPECT_EQ(step.start, outcome.finished + Duration::milliseconds(1));
    EXPECT_EQ(outcome.recorded_tokens, c.recorded);
    EXPECT_EQ(outcome.recorded_bytes, world.cost.record_bytes().minimal * 4 * c.memory_for);
    EXPECT_FALSE(observer.outcomes.at(RequestId(1)).trained_at.has_value());
  }
}

// A prompt's step takes 600 us, a decode step 0.1 ms, and decode never stops. Where two steps in a hundred are such
// prompts, training hides below them; where fewer than one is, the 99th percentile of the steps is a decode step's.
TEST(Training, HidesIfTheLongStepsAreNotTooRare) {
  const auto trained = [](std::int64_t every_ms, std::int32_t output) {
    World world;
    world.step_tokens = 1'024;
    TrainingObserver observer;
    std::vector<WorkloadRequest> requests;
    for (std::int64_t i = 0; i < 100; ++i) {
      requests.push_back(make_request(at_ms(every_ms * i), 500, output, static_cast<std::uint64_t>(i + 1)));
    }
    world.run({"none", "none", "none", "none", "headroom"}, requests, observer, 8'000, 1.0, Duration::milliseconds(1));
    const Time last = requests.back().arrival;
    return std::ranges::count_if(observer.pieces, [&](const TrainingSpan& piece) { return piece.end < last; });
  };
  EXPECT_GT(trained(5, 100), 10);
  EXPECT_EQ(trained(12, 200), 0);
}

// It decides every eight decode steps, whether these run as one or end wherever one of the requests, which overlap,
// needs a KV block: its pieces are the same ones.
TEST(Training, PiecesDoNotDependOnHowStepsAreCutIntoRuns) {
  std::vector<TrainingSpan> pieces[2];
  for (const bool cut : {false, true}) {
    World world;
    world.step_tokens = 1'024;
    world.stretch = 0.05;
    world.blocks_known_ahead = cut;
    TrainingObserver observer;
    std::vector<WorkloadRequest> requests;
    for (std::int64_t i = 0; i < 100; ++i) {
      requests.push_back(make_request(at_ms(3 * i), static_cast<std::int32_t>(400 + 7 * i % 50), 120,
                                      static_cast<std::uint64_t>(i + 1)));
    }
    world.run({"none", "none", "none", "none", "headroom"}, requests, observer, 8'000, 1.0, Duration::milliseconds(1));
    pieces[cut] = observer.pieces;
  }
  ASSERT_GT(pieces[0].size(), 20u);
  ASSERT_EQ(pieces[0].size(), pieces[1].size());
  for (std::size_t i = 0; i < pieces[0].size(); ++i) {
    EXPECT_EQ(pieces[0][i].start, pieces[1][i].start) << i;
    EXPECT_EQ(pieces[0][i].end, pieces[1][i].end) << i;
  }
}

// One sample's run (`share`: of the answers that are rated) in caches that are always warm, and in such as `cold` says.
struct WarmAndCold {
  WarmAndCold(const ColdStart& cold, double share) {
    for (const bool is_cold : {false, true}) {
      World world;
      if (is_cold) world.cold_start = cold;
      world.run(kTemporal, one_sample(), is_cold ? with : without, 4'000, share, Duration::milliseconds(1));
    }
  }
  Duration later(std::uint32_t request) const {
    return with.outcomes.at(RequestId(request)).finished - without.outcomes.at(RequestId(request)).finished;
  }
  TrainingObserver without, with;
};

// The first piece of the step follows serving, and the second request's only step follows the optimizer. The other
// pieces follow pieces, and the first request's steps follow nothing or steps.
TEST(Training, ChangesBetweenServingAndTrainingAreCharged) {
  ColdStart cold;
  cold.serving = Duration::microseconds(30);
  cold.training = Duration::microseconds(700);
  const WarmAndCold runs(cold, 1.0);
  ASSERT_EQ(runs.with.steps.size(), 1u);
  EXPECT_EQ(runs.with.steps[0].end, runs.without.steps[0].end + Duration::microseconds(700));
  EXPECT_EQ(runs.with.steps[0].forward, runs.without.steps[0].forward + Duration::microseconds(700));
  EXPECT_EQ(runs.later(0), Duration());
  EXPECT_EQ(runs.later(1), Duration::microseconds(30));
}

// Nobody trains: the second request's only step comes after time without work. Nothing was before the first one, which
// came when the clock began.
TEST(Training, StepsBehindIdleTimeAreCharged) {
  ColdStart cold;
  cold.serving = Duration::microseconds(30);
  cold.idle = Duration::microseconds(100);
  const WarmAndCold runs(cold, 0.0);
  EXPECT_EQ(runs.later(0), Duration());
  EXPECT_EQ(runs.later(1), Duration::microseconds(30));
}

// Every kind of operation has a factor of its own. Of the first request, one step computes the prompt and ten decode;
// training's forward, head, backward and optimizer follow. Factors that are powers of two lose nothing to rounding.
TEST(Training, TimesOfOperationsAreScaledByKind) {
  World plain, scaled;
  scaled.factors = PriceFactors({4, 2, 8, 16, 32, 64});
  const std::vector<WorkloadRequest> requests = one_sample();
  TrainingObserver before, after;
  plain.run(kTemporal, requests, before, 4'000, 1.0, Duration::milliseconds(1));
  scaled.run(kTemporal, requests, after, 4'000, 1.0, Duration::milliseconds(1));
  const RequestOutcome& fast = before.outcomes.at(RequestId(0));
  const RequestOutcome& slow = after.outcomes.at(RequestId(0));
  EXPECT_EQ(slow.ttft(), 2 * fast.ttft());
  EXPECT_EQ(slow.finished - slow.first_token, 4 * (fast.finished - fast.first_token));
  ASSERT_EQ(before.pieces.size(), 10u);
  ASSERT_EQ(after.pieces.size(), 10u);
  for (std::size_t i = 0; i < after.pieces.size(); ++i) {
    const int factor = i < 4 ? 8 : i == 4 ? 16 : i < 9 ? 32 : 64;
    EXPECT_EQ(after.pieces[i].end - after.pieces[i].start, factor * (before.pieces[i].end - before.pieces[i].start))
        << i;
  }
}

// The machine is half as fast until the first token is there, a quarter as fast from then on, whatever it runs.
TEST(Training, TimesOfOperationsAreScaledByWhenTheyBegin) {
  World plain, scaled;
  const std::vector<WorkloadRequest> requests = one_sample();
  TrainingObserver before, after;
  plain.run(kTemporal, requests, before, 4'000, 1.0, Duration::milliseconds(1));
  const RequestOutcome& fast = before.outcomes.at(RequestId(0));
  scaled.factors.change(Time(), 2);
  scaled.factors.change(fast.arrived + 2 * fast.ttft(), 4);
  scaled.run(kTemporal, requests, after, 4'000, 1.0, Duration::milliseconds(1));
  const RequestOutcome& slow = after.outcomes.at(RequestId(0));
  EXPECT_EQ(slow.ttft(), 2 * fast.ttft());
  EXPECT_EQ(slow.finished - slow.first_token, 4 * (fast.finished - fast.first_token));
  ASSERT_EQ(after.pieces.size(), before.pieces.size());
  for (std::size_t i = 0; i < after.pieces.size(); ++i) {
    EXPECT_EQ(after.pieces[i].end - after.pieces[i].start, 4 * (before.pieces[i].end - before.pieces[i].start)) << i;
  }
}

// As above, but the answer is one of several of 11 tokens each, every one trained behind a copy of the prompt: n copies
// are n * 61 tokens, of which the forward computes the prompt once, whatever records there are, and serving had
// computed that and its own answer. The head runs over the n * 11 tokens of the answers. With the prompt's record only
// the answers are computed, of which serving had computed one in n. A frozen model runs forward as well, over the same.
TEST(Training, PairAndGroupByHand) {
  const std::vector<WorkloadRequest> requests = one_sample();
  for (const std::int64_t n : {2, 4}) {
    for (const bool reuse : {false, true}) {
      World world;
      world.objective = n == 2 ? TrainingObjective::dpo : TrainingObjective::grpo;
      world.reference_model = n == 2;
      const double of_prompt = 50 * 51 / 2.0, of_answers = static_cast<double>(n) * (61 * 62 / 2.0 - of_prompt);
      const std::int64_t distinct = 50 + n * 11;
      const auto piece = [&](PieceKind kind, std::int64_t tokens) {
        TrainingPiece p;
        p.kind = kind;
        p.tokens = tokens;
        if (kind == PieceKind::kHead) p.recorded_targets = reuse ? 1 : 0;  // the prompt's last
        p.attended_keys = of_answers;
        if (tokens == distinct) p.attended_keys += of_prompt;
        if (tokens == n * 61) p.attended_keys += static_cast<double>(n) * of_prompt;
        if (kind == PieceKind::kOptimizer) p.parameters = world.cost.trained_parameters();
        return world.cost.piece(p);
      };
      TrainingObserver observer;
      observer.copies = (n - 1) * 50;
      world.run(reuse ? kReuse : kTemporal, requests, observer, 4'000, 1.0, Duration::milliseconds(1));
      ASSERT_EQ(observer.steps.size(), 1u);
      const TrainingStep& step = observer.steps[0];
      EXPECT_EQ(step.samples, 1);
      EXPECT_EQ(step.tokens, n * 61);
      EXPECT_EQ(step.reused_tokens, reuse ? 50 : 0);
      const std::int64_t fresh = reuse ? n * 11 : distinct, served = (reuse ? 0 : 50) + 11;
      Duration reference;
      if (n == 2) reference = 4 * piece(PieceKind::kReference, distinct) + piece(PieceKind::kReferenceHead, n * 11);
      const Duration forward = 4 * piece(PieceKind::kForward, fresh);
      EXPECT_EQ(step.forward, reference + forward);
      EXPECT_NEAR(step.redundant_forward.in_seconds(),
                  forward.in_seconds() * static_cast<double>(served) / static_cast<double>(fresh), 4e-9);
      const Duration backward = piece(PieceKind::kHead, n * 11) + 4 * piece(PieceKind::kBackward, n * 61);
      EXPECT_EQ(step.backward, backward);
      EXPECT_EQ(step.end - step.start, reference + forward + backward + piece(PieceKind::kOptimizer, 0));
    }
  }
}

// Recording writes the bytes once more: 50 tokens * 4 layers * minimal bytes at 1e11 bytes/s on top of the prefill step
// of 100 us + 50 * 1 us. The first token comes that much later, and nothing else changes.
TEST(Training, RecordingIsCharged) {
  World world;
  TrainingObserver observer;
  world.run(kReuse, {make_request(at_ms(0), 50, 1, 1)}, observer, 4'000, 0.0, Duration());
  const double bytes = (world.cost.record_bytes().minimal * 4 * 50).as_double();
  EXPECT_EQ(observer.outcomes.at(RequestId(0)).first_token,
            Time() + Duration::microseconds(150) + Duration::seconds(bytes / 1e11));
}

// KV has priority. The first request leaves a record of 60 tokens; five more then need 5 * 7 blocks, which are there
// only if the record gives way, and nobody is preempted.
TEST(Training, RecordsGiveWayToServing) {
  World world;
  const Bytes page = small_model().kv_bytes_per_token() * 16;
  const auto record_pages = static_cast<std::int32_t>((world.cost.record_bytes().minimal * 4 * 60) / page) + 1;
  const std::int32_t kv_blocks = record_pages + 6;
  TrainingObserver observer;
  std::vector<WorkloadRequest> requests = {make_request(at_ms(0), 60, 2, 1)};
  for (int i = 0; i < 5; ++i) requests.push_back(make_request(at_ms(100), 40, 60, 10 + i));
  const SimulationTotals totals = world.run(kReuse, requests, observer, kv_blocks, 0.0, Duration());
  EXPECT_EQ(totals.completed, 6);
  EXPECT_EQ(observer.peak_activations, page * record_pages);
  for (const auto& [id, outcome] : observer.outcomes) EXPECT_EQ(outcome.preemptions, 0);
}

// The prompt is computed in four chunks. With the record of the first one, for which there is room at that moment, the
// others would have none: the prompt would give way to its own record, leave another one when it begins again, and so
// on.
TEST(Training, APromptDoesNotGiveWayToItsOwnRecord) {
  for (const bool async : {false, true}) {
    World world;
    world.async = async;
    world.step_tokens = 64;
    const Bytes page = small_model().kv_bytes_per_token() * 16;
    const auto of_chunk = static_cast<std::int32_t>((world.cost.record_bytes().minimal * 4 * 64) / page) + 1;
    TrainingObserver observer;
    const SimulationTotals totals =
        world.run(kReuse, {make_request(at_ms(0), 240, 3, 1)}, observer, 16 + of_chunk - 6, 0.0, Duration());
    EXPECT_EQ(totals.completed, 1);
    ASSERT_EQ(observer.outcomes.size(), 1u);
    EXPECT_EQ(observer.outcomes.begin()->second.preemptions, 0);
  }
}

// Requests that are preempted after their prompt was recorded compute it again, and nothing is recorded twice.
TEST(Training, PreemptedRequestsKeepTheirOnlyRecord) {
  World world;
  world.record_pages = 40;
  TrainingObserver observer;
  std::vector<WorkloadRequest> requests;
  for (int i = 0; i < 5; ++i) requests.push_back(make_request(at_ms(i), 30, 60, 10 + i));
  world.run({"minimal", "pressure", "oldest", "reload", "idle"}, requests, observer, 20, 0.0, Duration());
  std::int64_t preemptions = 0;
  for (const auto& [id, outcome] : observer.outcomes) {
    preemptions += outcome.preemptions;
    EXPECT_LE(outcome.recorded_tokens, 30 * (1 + outcome.preemptions));
  }
  EXPECT_GT(preemptions, 0) << "otherwise this tests nothing";
}

// Memory that fits a record or two beside the keys and values: records come and go, their ids are used again, and
// requests are preempted in the very step that is planned behind their last chunk. No record is another request's.
TEST(Training, PreemptionsLeaveOthersRecordsAlone) {
  std::int64_t preemptions = 0;
  const Bytes page = small_model().kv_bytes_per_token() * 16;
  for (const bool answers : {false, true}) {
    for (std::int32_t kv_blocks = 30; kv_blocks < 140; kv_blocks += 10) {
      World world;
      world.async = true;
      world.record_pages = kv_blocks;
      TrainingObserver observer;
      std::vector<WorkloadRequest> requests;
      for (int i = 0; i < 60; ++i) {
        requests.push_back(make_request(at_ms(i), 3 + i * 7 % 30, 60 + i * 11 % 200, 10 + i));
      }
      const SimulationTotals totals =
          world.run({"minimal", "eager", "oldest", "reload", "idle", FreshActivations::kKeep, false, answers}, requests,
                    observer, kv_blocks, 0.5, Duration::milliseconds(1));
      EXPECT_EQ(totals.completed, 60);
      for (const auto& [id, outcome] : observer.outcomes) preemptions += outcome.preemptions;
      EXPECT_LE(observer.peak_activations, page * kv_blocks);
    }
  }
  EXPECT_GT(preemptions, 50) << "otherwise this tests nothing";
}

// A sample whose activations would not fit an empty memory is refused; the next one is trained all the same.
TEST(Training, SampleThatCannotFitIsRefused) {
  World world;
  const Bytes page = small_model().kv_bytes_per_token() * 16;
  const auto for_tokens = [&](std::int64_t tokens) {
    return static_cast<std::int32_t>((world.cost.record_bytes().minimal * 4 * tokens) / page);
  };
  TrainingObserver observer;
  world.batch_tokens = 10;
  const SimulationTotals totals = world.run(
      kTemporal,
      {make_request(at_ms(0), 100, 20, 1), make_request(at_ms(10), 30, 10, 2), make_request(at_ms(900), 3, 1, 3)},
      observer, for_tokens(100), 1.0, Duration::milliseconds(1));
  EXPECT_EQ(totals.trainer.too_long, 1);
  EXPECT_EQ(totals.trainer.samples, 1);
  EXPECT_TRUE(observer.outcomes.at(RequestId(1)).trained_at.has_value());
}

// All combinations of decisions on random traffic, with little memory and with much: requests end, bytes by tier agree
// (checked when the run ends), nothing is trained twice, every trained sample had feedback, reused + recomputed = all.
TEST(Training, EveryPolicyConserves) {
  const std::vector<Decisions> policies = {
      {"none", "none", "none", "none", "whenever", FreshActivations::kKeep, true},
      {"none", "none", "none", "none", "whenever", FreshActivations::kCheckpoint, true},
      {"none", "none", "none", "none", "whenever", FreshActivations::kOffload, true},
      {"none", "none", "none", "none", "headroom"},
      {"none", "none", "none", "none", "token_fill"},
      {"minimal", "stay", "oldest", "none", "headroom"},
      {"lean", "pressure", "oldest", "reload", "idle"},
      {"adaptive", "eager", "oldest", "hedged", "headroom"},
      {"adaptive", "eager", "oldest", "race", "headroom"},
      {"minimal", "eager", "oldest", "planned", "whenever"},
      {"foreseen", "eager", "farthest", "planned", "idle"},
      {"minimal", "stay", "oldest", "none", "headroom", FreshActivations::kKeep, false, true},
      {"lean", "pressure", "oldest", "reload", "idle", FreshActivations::kCheckpoint, false, true},
      {"adaptive", "eager", "oldest", "hedged", "headroom", FreshActivations::kSpill, false, true},
      {"adaptive", "tiered", "oldest", "planned", "headroom", FreshActivations::kSpill, false, true},
      {"foreseen", "tiered", "farthest", "planned", "whenever", FreshActivations::kOffload, false, true}};
  std::int64_t trained = 0, reused = 0;
  for (const bool async : {false, true}) {
    for (const std::int32_t kv_blocks : {700, 4'000}) {
      for (const Decisions& names : policies) {
        World world;
        world.async = async;
        world.record_pages = kv_blocks / 2;
        world.host_capacity = Bytes(3'000'000);
        RandomStream random(7, "test");
        std::vector<WorkloadRequest> requests;
        double now = 0;
        for (int i = 0; i < 120; ++i) {
          now += random.exponential(4e6);
          requests.push_back(make_request(Time::from_ns(static_cast<std::int64_t>(now)),
                                          static_cast<std::int32_t>(random.uniform_int(1, 90)),
                                          static_cast<std::int32_t>(random.uniform_int(1, 40)),
                                          static_cast<std::uint64_t>(random.uniform_int(0, 30))));
        }
        TrainingObserver observer;
        const SimulationTotals totals =
            world.run(names, requests, observer, kv_blocks, 0.5, Duration::milliseconds(30));
        EXPECT_EQ(totals.completed, 120);
        EXPECT_EQ(observer.outcomes.size(), 120u);
        std::int64_t told = 0, samples = 0;
        for (const auto& [id, outcome] : observer.outcomes) told += outcome.trained_at ? 1 : 0;
        for (const TrainingStep& step : observer.steps) {
          samples += step.samples;
          reused += step.reused_tokens;
        }
        EXPECT_EQ(told, samples);
        EXPECT_LE(samples, totals.feedback_samples);
        trained += samples;
      }
    }
  }
  EXPECT_GT(trained, 500);
  EXPECT_GT(reused, 1'000);
}

}  // namespace
}  // namespace alchemist

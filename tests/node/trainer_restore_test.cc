// A micro-batch whose records are on the host, restored as a test's own decision says: what its pieces are told, what
// memory it takes and what it counts.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/policy/restore_plan.h"
#include "tests/node/piece_times.h"
#include "tests/node/store.h"

namespace alchemist {
namespace {

using testing::ask_in_turn;
using testing::Store;
using testing::TimeOfTokens;
using testing::two_layers;

using RestoreFunction = RestorePlan (*)(const RestoreProblem&);

// Keeps the problems it is shown. Of gate and up, `share` comes from the host.
class GivenRestore final : public RestoreDecision {
 public:
  GivenRestore(RestoreFunction function, double share) : function_(function), share_(share) {}
  RestorePlan choose(std::span<const RestoreProblem> outlook) override {
    const RestoreProblem& problem = outlook.front();
    problems.push_back(problem);
    RestorePlan plan = function_(problem);
    for (LayerPlan& layer : plan.layers) {
      if (layer.source == LayerSource::reload && problem.gate_up_recorded) layer.gate_up_share = share_;
    }
    return plan;
  }
  std::vector<RestoreProblem> problems;

 private:
  RestoreFunction function_;
  double share_;
};

using Pieces = std::vector<TrainingPiece>;

int count(const Pieces& pieces, PieceKind kind) {
  return static_cast<int>(std::ranges::count(pieces, kind, &TrainingPiece::kind));
}

const TrainingPiece& first(const Pieces& pieces, PieceKind kind) {
  return *std::ranges::find(pieces, kind, &TrainingPiece::kind);
}

struct Options {
  double gate_up_share = 1;
  std::int32_t window_layers = 16;
  std::int64_t batch_tokens = 10;
  TrainingObjective objective = TrainingObjective::sft;
  std::int64_t ns_per_byte = 1;
  Bytes on_host = Bytes(1000);
};

// Two layers of 5 bytes a token each, 2 of them lean; 20 pages of 100 bytes.
class Restorer {
 public:
  explicit Restorer(RestoreFunction function, const Options& options = {})
      : s("eager", 20, 0, options.on_host), times(options.ns_per_byte) {
    s.policy.train = make_train_decision("idle");
    auto decision = std::make_unique<GivenRestore>(function, options.gate_up_share);
    restore = decision.get();
    s.policy.restore = std::move(decision);
    TrainerConfig config = two_layers(options.batch_tokens);
    config.window_layers = options.window_layers;
    config.training.objective = options.objective;
    trainer.emplace(config, s.pool, *s.store, s.policy, times, s.host);
  }
  // Of 40 tokens; its memory on the GPU has been taken for a moment.
  void record_on_host(std::uint32_t request, bool lean = false) {
    s.policy.record = make_record_decision(lean ? "lean" : "minimal");
    s.record_of(request, request, 0, 40, 0);
    EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
    std::vector<BlockId> others;
    s.pool.allocate(s.pool.free(), others);
    s.store->reclaim(Time(), 1, true);
    s.pool.release_first(others);
    copies_done = s.host.copies.size();
  }
  // 40 + 10 tokens, and as many answers more.
  void feedback(std::uint32_t request, std::int32_t others = 0) {
    trainer->on_feedback(Time(), {RequestId(request), SessionId(request), 40, 10, others, others > 0 ? 10 : 0});
  }
  // The pieces that can run, without what comes over the link from now on; behind each serving takes `rest` times as
  // long.
  Pieces run_ready(int rest = 0) {
    Pieces pieces;
    while (const auto piece = trainer->next_piece(now, true)) {
      most_on_gpu = std::max(most_on_gpu, trainer->gpu_bytes());
      most_on_host = std::max(most_on_host, s.store->host_bytes());
      trainer->on_piece_submitted();
      now = now + times.piece(*piece);
      trainer->on_piece_done(now, *piece, times.piece(*piece));
      now = now + times.piece(*piece) * rest;
      pieces.push_back(*piece);
    }
    return pieces;
  }
  // All of a step. A copy ends when nothing else can go on.
  Pieces run(int rest = 0) {
    Pieces pieces = run_ready(rest);
    while (copies_done < s.host.copies.size()) {
      trainer->on_copy_done(Time(), OpId(static_cast<std::uint32_t>(copies_done++)));
      const Pieces more = run_ready(rest);
      pieces.insert(pieces.end(), more.begin(), more.end());
    }
    return pieces;
  }
  // The last copy of this name is over.
  void end_copy(std::string_view name) {
    const auto& copies = s.host.copies;
    const auto last = std::find_if(copies.rbegin(), copies.rend(), [&](auto& copy) { return copy.starts_with(name); });
    ASSERT_NE(last, copies.rend());
    ASSERT_TRUE(trainer->on_copy_done(Time(), OpId(static_cast<std::uint32_t>(copies.rend() - last - 1))));
  }
  const TrainingStep& step() const { return s.host.trained.at(0); }

  Store s;
  GivenRestore* restore = nullptr;
  const TimeOfTokens times;
  std::optional<Trainer> trainer;
  Time now;
  std::size_t copies_done = 0;
  Bytes most_on_gpu, most_on_host;
};

// The 40 tokens on the host go through both layers again, or through none. The last of them has a target: the head gets
// its hidden state from the record, or from what was computed again. The 10 tokens of the answer take 10 bytes each,
// and those 40 take 5 for each layer that is here at once: the one of the window, and one more that is recomputed.
// Where they are not computed again, their keys take a byte in each of the two layers. Pages are of 100 bytes.
TEST(TrainerRestore, RecomputedTokensTakeMemoryInPlaceOfTheLink) {
  for (const bool recompute : {false, true}) {
    Restorer r(recompute ? recompute_all : reload_all, {.window_layers = 1});
    r.record_on_host(1);
    r.feedback(1);
    const Pieces pieces = r.run();
    EXPECT_EQ(count(pieces, PieceKind::kForward), 2);
    EXPECT_EQ(first(pieces, PieceKind::kForward).tokens, recompute ? 50 : 10);
    EXPECT_EQ(count(pieces, PieceKind::kBackward), 2);
    EXPECT_EQ(first(pieces, PieceKind::kHead).recorded_targets, recompute ? 0 : 1);
    EXPECT_EQ(r.most_on_gpu, Bytes(recompute ? 10 * 10 + 2 * 40 * 5 : 10 * 10 + 40 * 5 + 2 * 40 + 20));
    EXPECT_EQ(r.step().reused_tokens, recompute ? 0 : 40);
    EXPECT_EQ(r.s.store->totals().wasted_copies, Bytes(recompute ? 400 : 0)) << "a hedge that lost was for nothing";
  }
}

// Two answers of 10 tokens to one prompt of 40: both are trained on all 50 tokens, but the prompt is computed once.
TEST(TrainerRestore, ARecomputedPromptIsRecomputedOnceForAllAnswers) {
  Restorer r(recompute_all);
  r.record_on_host(1);
  r.feedback(1, 1);
  r.run();
  EXPECT_EQ(r.step().tokens, 100);
  EXPECT_EQ(r.step().recomputed_tokens, 60);
  EXPECT_EQ(r.step().reused_tokens, 0);
}

TEST(TrainerRestore, NothingIsRebuiltInARecomputedLayer) {
  Restorer r(recompute_all);
  r.record_on_host(1, true);
  r.feedback(1);
  EXPECT_EQ(first(r.run(), PieceKind::kBackward).rebuild_tokens, 0);
}

// Of two records of 40 tokens the first is lean, and of the other's gate and up a quarter comes from the host: for 40
// tokens and for three quarters of 40 they are rebuilt. The last layer's share of the bytes: (4 * 80 + 6 * 40 / 4) / 2.
TEST(TrainerRestore, AQuarterOfGateAndUpComesAndTheRestIsRebuilt) {
  Restorer r(reload_all, {.gate_up_share = 0.25, .batch_tokens = 100});
  r.record_on_host(1, true);
  r.record_on_host(2);
  r.feedback(1);
  r.feedback(2);
  const std::size_t before = r.s.host.copies.size();
  EXPECT_EQ(first(r.run(), PieceKind::kBackward).rebuild_tokens, 70);
  EXPECT_EQ(r.s.host.copies.at(before), "keys 0: 80");
  EXPECT_EQ(r.s.host.copies.at(before + 1), "in 1: 190");
}

// A lean record has no gate and up to bring, and the 10 tokens without a record are forward work of 10 us. Of two
// records of 40 tokens that on the host is half.
TEST(TrainerRestore, TheDecisionIsShownWhereRecordsAre) {
  Restorer lean(reload_all);
  lean.record_on_host(1, true);
  lean.feedback(1);
  lean.run();
  EXPECT_FALSE(lean.restore->problems.at(0).gate_up_recorded);
  EXPECT_NEAR(lean.restore->problems.at(0).fresh_forward, 10e-6, 1e-12);

  Restorer both(reload_all, {.batch_tokens = 100});
  both.record_on_host(1);
  both.s.record(2);
  both.feedback(1);
  both.feedback(2);
  EXPECT_FALSE(both.trainer->next_piece(Time(), true));
  ASSERT_EQ(both.restore->problems.size(), 1u);
  EXPECT_EQ(both.restore->problems[0].records[0].absent_share, 0.5);
  EXPECT_TRUE(both.restore->problems[0].gate_up_recorded);
  EXPECT_NEAR(both.restore->problems[0].fresh_keys, 40e-9, 1e-15) << "a byte a layer of the 40 tokens";
}

// Whatever comes over the link is believed to take as much longer as copies have taken of late: here a millisecond for
// some hundred nanoseconds.
TEST(TrainerRestore, TheDecisionIsShownHowSlowTheLinkIs) {
  Restorer r(reload_all);
  for (const std::uint32_t request : {1, 2}) {
    r.record_on_host(request);
    r.feedback(request);
    r.run_ready();
    while (r.copies_done < r.s.host.copies.size()) {
      r.now = r.now + Duration::milliseconds(1);
      ASSERT_TRUE(r.trainer->on_copy_done(r.now, OpId(static_cast<std::uint32_t>(r.copies_done++))));
      r.run_ready();
    }
  }
  const RestoreProblem &before = r.restore->problems.front(), &after = r.restore->problems.back();
  const double slower = after.times.reload_full / before.times.reload_full;
  EXPECT_GT(slower, 1'000);
  EXPECT_NEAR(after.times.reload_lean / before.times.reload_lean / slower, 1, 1e-9);
  EXPECT_NEAR(after.fresh_keys / before.fresh_keys / slower, 1, 1e-9);
}

// Of two answers to a prompt with a record, 20 tokens are fresh, and they and the prompt go through the frozen model:
// work during which the link has time.
TEST(TrainerRestore, TheReferenceModelIsWorkToo) {
  Restorer r(reload_all, {.objective = TrainingObjective::dpo});
  r.record_on_host(1);
  r.feedback(1, 1);
  ASSERT_TRUE(r.trainer->next_piece(Time(), true));
  ASSERT_EQ(r.restore->problems.size(), 1u);
  EXPECT_NEAR(r.restore->problems[0].fresh_forward, (20 + 60) * 1e-6, 1e-12);
}

// 40 tokens without a record. With room for one layer of two, the other, 5 bytes a token, is on the host meanwhile.
TEST(TrainerRestore, OffloadingTakesHostMemoryAndGivesItBack) {
  Restorer r(reload_all, {.window_layers = 1});
  r.s.policy.fresh = FreshActivations::kOffload;
  r.trainer->on_feedback(Time(), {RequestId(1), SessionId(1), 20, 20, 0, 0});
  r.run();
  EXPECT_EQ(r.trainer->version(), WeightVersion(1));
  EXPECT_EQ(r.most_on_host, Bytes(200));
  EXPECT_EQ(r.s.store->host_bytes(), Bytes());
}

// 40 tokens without a record take 4 of 20 pages. Where the prefix cache makes use of all of them, and a twentieth more
// of the prompts would be computed, they go to the host, a layer at a time; not where a hundredth would, or where
// policy lets training lengthen serving by a tenth.
TEST(TrainerRestore, WhatServingMissesIsSpilled) {
  struct Case {
    std::int32_t computed;  // blocks for each prefix that is asked for
    double stretch;
    bool missed;
  };
  for (const auto& [computed, stretch, missed] : {Case{20, 0.03, true}, {100, 0.03, false}, {20, 0.1, false}}) {
    Restorer r(reload_all, {.window_layers = 1});
    r.s.policy.fresh = FreshActivations::kSpill;
    r.s.policy.stretch = stretch;
    ask_in_turn(r.s.pool, 20, computed);
    r.trainer->on_feedback(Time(), {RequestId(1), SessionId(1), 20, 20, 0, 0});
    r.run();
    EXPECT_EQ(r.most_on_gpu, Bytes(missed ? 200 : 400));
    EXPECT_EQ(r.most_on_host, Bytes(missed ? 200 : 0));
  }
}

// The window of two layers becomes one of one where serving misses the memory and a layer's copies, 200 bytes, take no
// longer than what serving takes for itself behind each piece: `rest` times the piece's 40 us.
TEST(TrainerRestore, TheWindowShrinksToWhatServingDoesNotMiss) {
  struct Case {
    std::int32_t computed;  // blocks for each prefix that is asked for
    std::int64_t ns_per_byte;
    int rest;
    bool shrinks;
  };
  for (const Case& c :
       {Case{20, 140, 1, true}, Case{100, 140, 1, false}, Case{20, 210, 1, false}, Case{20, 140, 0, false}}) {
    Restorer r(reload_all, {.window_layers = 2, .ns_per_byte = c.ns_per_byte});
    r.s.policy.fresh = FreshActivations::kOffload;
    const auto train = [&](std::uint32_t request) {
      r.most_on_gpu = Bytes();
      r.trainer->on_feedback(r.now, {RequestId(request), SessionId(request), 20, 20, 0, 0});
      r.run(c.rest);
    };
    for (std::uint32_t request = 1; request <= 100; ++request) train(request);
    EXPECT_EQ(r.most_on_gpu, Bytes(400));
    ask_in_turn(r.s.pool, 20, c.computed);
    train(101);
    EXPECT_EQ(r.most_on_gpu, Bytes(c.shrinks ? 200 : 400)) << c.computed << ' ' << c.ns_per_byte << ' ' << c.rest;
    EXPECT_EQ(r.trainer->version(), WeightVersion(101));

    r.record_on_host(102);
    ask_in_turn(r.s.pool, 20, c.computed);
    r.most_on_gpu = Bytes();
    r.feedback(102);
    r.run(c.rest);
    EXPECT_EQ(r.most_on_gpu, Bytes(c.shrinks ? 300 : 500)) << "250 or 500 bytes: 40 tokens come and 10 go";
  }
}

// A sample of 245 tokens, 235 of which have a record on the host, with checkpoints of a byte a token. Layers that are
// recomputed stay on the GPU: 10 bytes for each of the 235 and 6 for the others are more than the 24 pages of 100. So
// they are reloaded after all, one layer at a time, although the policy would not.
TEST(TrainerRestore, WhatIsTooMuchToRecomputeIsReloaded) {
  Store s("eager", 24, 0, Bytes(2'400));
  s.policy.train = make_train_decision("idle");
  s.policy.restore = make_restore_decision("recompute");
  s.policy.fresh = FreshActivations::kCheckpoint;
  TrainerConfig config = two_layers(10);
  config.window_layers = 1;
  config.bytes.input = Bytes(1);
  const TimeOfTokens times;
  Trainer trainer(config, s.pool, *s.store, s.policy, times, s.host);
  s.record_of(1, 1, 0, 235, 0);
  ASSERT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  s.store->reclaim(Time(), 24, true);
  ASSERT_EQ(s.pool.free(), 24);
  trainer.on_feedback(Time(), {RequestId(1), SessionId(1), 235, 10, 0, 0});
  std::size_t done = s.host.copies.size();
  for (;;) {
    if (const auto piece = trainer.next_piece(Time(), true)) {
      trainer.on_piece_submitted();
      trainer.on_piece_done(Time(), *piece, times.piece(*piece));
    } else if (done < s.host.copies.size()) {
      ASSERT_TRUE(trainer.on_copy_done(Time(), OpId(static_cast<std::uint32_t>(done++))));
    } else {
      break;
    }
  }
  ASSERT_EQ(s.host.trained.size(), 1u);
  EXPECT_EQ(s.host.trained[0].reused_tokens, 235);
}

// The record takes all 400 bytes of the host, and the answer's activations, 50 bytes a layer, want some: they stay on
// the GPU if they may, even where serving misses its memory, or else the micro-batch does without the record.
TEST(TrainerRestore, OwnRecordsDoNotKeepAMicroBatchWaitingForTheHost) {
  for (const FreshActivations fresh : {FreshActivations::kSpill, FreshActivations::kOffload}) {
    Restorer r(reload_all, {.window_layers = 1, .on_host = Bytes(400)});
    r.s.policy.fresh = fresh;
    r.record_on_host(1);
    ask_in_turn(r.s.pool, 20, 20);
    r.feedback(1);
    const Pieces pieces = r.run();
    EXPECT_EQ(r.trainer->version(), WeightVersion(1));
    const bool reuses = fresh == FreshActivations::kSpill;
    ASSERT_GT(count(pieces, PieceKind::kForward), 0);
    EXPECT_EQ(first(pieces, PieceKind::kForward).tokens, reuses ? 10 : 50);
    r.s.store->check_consistency();
  }
}

TEST(TrainerRestore, CheckpointingRunsTheLayersOfFreshTokensAgain) {
  Restorer r(reload_all);
  r.s.policy.fresh = FreshActivations::kCheckpoint;
  r.trainer->on_feedback(Time(), {RequestId(1), SessionId(1), 20, 20, 0, 0});
  EXPECT_EQ(first(r.run(), PieceKind::kBackward).checkpoint_tokens, 40);
  r.s.record(2);  // of 40 tokens, in front of 10 without
  r.feedback(2);
  EXPECT_EQ(first(r.run(), PieceKind::kBackward).checkpoint_tokens, 10);
}

// Forward of the answer attends to 40 tokens on the host: a layer waits for their keys, a byte each.
TEST(TrainerRestore, ForwardWaitsForTheKeysOfItsLayer) {
  Restorer r(reload_all);
  r.record_on_host(1);
  r.feedback(1);
  const std::size_t before = r.copies_done;
  EXPECT_TRUE(r.run_ready().empty());
  EXPECT_TRUE(r.trainer->waits_for_copy());
  EXPECT_EQ(r.s.host.copies.at(before), "keys 0: 40");
  for (std::int32_t layer = 0; layer < 2; ++layer) {
    r.end_copy("keys " + std::to_string(layer) + ": 40");
    const Pieces ready = r.run_ready();
    ASSERT_EQ(ready.size(), 1u);
    EXPECT_EQ(ready[0].kind, PieceKind::kForward);
    EXPECT_EQ(ready[0].layer, layer);
  }
}

// Layer 0 is recomputed, and the 40 tokens with it; of layer 1 only the answer's 10 are, behind the keys of the others.
TEST(TrainerRestore, OnlyReloadedLayersNeedKeys) {
  Restorer r(+[](const RestoreProblem& problem) { return restore_detail::meet_at(problem, 1); });
  r.record_on_host(1);
  r.feedback(1);
  const Pieces first_layer = r.run_ready();
  ASSERT_EQ(first_layer.size(), 1u);
  EXPECT_EQ(first_layer[0].tokens, 50);
  EXPECT_TRUE(std::ranges::none_of(r.s.host.copies, [](const auto& copy) { return copy.starts_with("keys 0"); }));
  r.end_copy("keys 1: 40");
  const Pieces second_layer = r.run_ready();
  ASSERT_FALSE(second_layer.empty());
  EXPECT_EQ(second_layer[0].kind, PieceKind::kForward);
  EXPECT_EQ(second_layer[0].tokens, 10);
}

// A record on the GPU needs nothing of the host, nor does one whose layers are all computed again.
TEST(TrainerRestore, KeysThatAreHereAreNotBrought) {
  Restorer here(reload_all), again(recompute_all);
  here.s.record(1);
  again.record_on_host(1);
  for (Restorer* r : {&here, &again}) {
    const std::size_t before = r->s.host.copies.size();
    r->feedback(1);
    EXPECT_EQ(first(r->run_ready(), PieceKind::kForward).layer, 0);
    for (std::size_t i = before; i < r->s.host.copies.size(); ++i)
      EXPECT_FALSE(r->s.host.copies[i].starts_with("keys"));
  }
}

// The last token of the prompt has a target and its record is on the host: forward of the answer is done in both
// layers, but the head, to which the record's last layer belongs, waits for that to come. Without such a target, 40
// tokens of a prompt of 42, it does not wait; backward of the last layer does.
TEST(TrainerRestore, TheHeadWaitsForTheRecordOfTheLastLayer) {
  for (const bool recorded_target : {true, false}) {
    Restorer r(reload_all);
    r.record_on_host(1);
    r.trainer->on_feedback(Time(), {RequestId(1), SessionId(1), recorded_target ? 40 : 42, 10, 0, 0});
    EXPECT_TRUE(r.run_ready().empty());
    r.end_copy("keys 0");
    EXPECT_EQ(count(r.run_ready(), PieceKind::kForward), 1);
    r.end_copy("keys 1");
    const Pieces ready = r.run_ready();
    EXPECT_EQ(count(ready, PieceKind::kForward), 1);
    EXPECT_EQ(count(ready, PieceKind::kHead), recorded_target ? 0 : 1);
    EXPECT_EQ(count(ready, PieceKind::kBackward), 0);
    EXPECT_TRUE(r.trainer->waits_for_copy());
    r.end_copy("in 1");
    const auto next = r.trainer->next_piece(Time(), true);
    ASSERT_TRUE(next);
    EXPECT_EQ(next->kind, recorded_target ? PieceKind::kHead : PieceKind::kBackward);
  }
}

}  // namespace
}  // namespace alchemist

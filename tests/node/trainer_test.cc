#include "sim/node/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "tests/node/piece_times.h"
#include "tests/node/store.h"

namespace alchemist {
namespace {

using testing::TimeOfTokens;
using testing::two_layers;

// Of 440 tokens the first 40 have a record. Parts of 150 us: each says what its own tokens attend to, forward's from
// the first token without a record up, backward's from the last token down.
TEST(Trainer, PartsAttendToTheKeysOfTheirTokens) {
  testing::Store s("stay", 100);
  s.policy.train = make_train_decision("idle");
  const TimeOfTokens times;
  Trainer trainer(two_layers(100), s.pool, *s.store, s.policy, times, s.host);
  s.record(1);
  trainer.on_feedback(Time(), {RequestId(1), SessionId(1), 40, 400, 0, 0});

  std::map<std::pair<PieceKind, std::int32_t>, std::vector<std::int64_t>> sizes;
  while (const auto piece = trainer.next_piece(Time(), true)) {
    const auto part = trainer.part_within(*piece, {Duration::microseconds(150), 1'000, true});
    ASSERT_TRUE(part);
    const TrainingPiece& p = part->piece;
    double keys = 0;
    for (std::int64_t token = p.first_token; token < p.first_token + p.tokens; ++token) {
      const std::int64_t position = p.kind == PieceKind::kBackward ? 439 - token : 40 + token;
      keys += static_cast<double>(position + 1);
    }
    const bool attends = p.kind == PieceKind::kForward || p.kind == PieceKind::kBackward;
    EXPECT_EQ(p.attended_keys, attends ? keys : 0);
    sizes[{p.kind, p.layer}].push_back(p.tokens);
    trainer.on_piece_submitted();
    trainer.on_piece_done(Time(), p, part->expected);
  }
  for (const std::int32_t layer : {0, 1}) {
    EXPECT_EQ((sizes[{PieceKind::kForward, layer}]), (std::vector<std::int64_t>{150, 150, 100}));
    EXPECT_EQ((sizes[{PieceKind::kBackward, layer}]), (std::vector<std::int64_t>{150, 150, 140}));
  }
  EXPECT_EQ(trainer.totals().samples, 1);
}

// A record of 40 tokens on the host, which takes 2 ms to come back and 80 us to make again. Training passed a thousand
// times slower than its own work beside serving, against which the link is fast; while serving rests it is slow.
TEST(Trainer, RestoresAtFullSpeedWhileServingRests) {
  class SlowLink final : public Estimator {
   public:
    Duration piece(const TrainingPiece& piece) const override { return Duration::microseconds(piece.tokens); }
    Duration copy(LinkDirection, Bytes) const override { return Duration::milliseconds(1); }
  };
  for (const bool alone : {false, true}) {
    testing::Store s("eager", 8);
    s.policy.train = make_train_decision("idle");
    s.policy.restore = make_restore_decision("planned");
    const SlowLink times;
    Trainer trainer(two_layers(10), s.pool, *s.store, s.policy, times, s.host);
    Time now;
    trainer.on_feedback(now, {RequestId(7), SessionId(7), 20, 15, 0, 0});
    while (const auto piece = trainer.next_piece(now, false)) {
      trainer.on_piece_submitted();
      now = now + times.piece(*piece) * 1'000;
      trainer.on_piece_done(now, *piece, times.piece(*piece));
    }
    std::vector<BlockId> others;
    s.pool.allocate(4, others);  // nothing is left, so that the record goes where serving needs more
    s.record(1);
    ASSERT_TRUE(s.store->on_copy_done(now, s.host.last()));
    s.store->reclaim(now, 1, true);
    s.pool.release_first(others);
    const std::size_t before = s.host.copies.size();
    trainer.on_feedback(now, {RequestId(1), SessionId(1), 40, 10, 0, 0});
    EXPECT_EQ(trainer.next_piece(now, alone).has_value(), alone) << "otherwise keys come first";
    EXPECT_EQ(s.host.copies.size() > before, !alone);
  }
}

// Runs all pieces that can run, each in its time, and shows them to `visit`; how many there are of a kind.
std::map<PieceKind, int> run_pieces(Trainer& trainer, Time& now,
                                    const std::function<void(const TrainingPiece&)>& visit = {}) {
  const TimeOfTokens times;
  std::map<PieceKind, int> pieces;
  while (const auto piece = trainer.next_piece(now, true)) {
    trainer.on_piece_submitted();
    now = now + times.piece(*piece);
    trainer.on_piece_done(now, *piece, times.piece(*piece));
    ++pieces[piece->kind];
    if (visit) visit(*piece);
  }
  return pieces;
}

struct TwoReplicas {
  TwoReplicas() : s("stay", 100) {
    s.policy.train = make_train_decision("idle");
    TrainerConfig config = two_layers(100);
    config.replicas = 2;
    config.micro_batch_tokens = 60;
    trainer.emplace(config, s.pool, *s.store, s.policy, times, s.host);
  }
  void feedback(std::uint32_t request, std::int32_t tokens = 50) {
    trainer->on_feedback(now, {RequestId(request), SessionId(request), tokens - 10, 10, 0, 0});
  }
  testing::Store s;
  const TimeOfTokens times;
  std::optional<Trainer> trainer;
  Time now;
};

// The weights wait for the other replica's gradients, and so does the next step.
TEST(Trainer, ReplicasStepTogether) {
  TwoReplicas r;
  for (const std::uint32_t request : {1, 2, 3, 4}) r.feedback(request);
  EXPECT_EQ(run_pieces(*r.trainer, r.now).count(PieceKind::kOptimizer), 0u);
  EXPECT_EQ(r.s.host.all_reduces, 1);
  EXPECT_EQ(r.trainer->version(), WeightVersion(0));
  EXPECT_FALSE(r.trainer->on_all_reduced(r.now, OpId(7))) << "somebody else's";
  r.now = r.now + Duration::milliseconds(3);
  ASSERT_TRUE(r.trainer->on_all_reduced(r.now, r.s.host.last_all_reduce()));
  const auto pieces = run_pieces(*r.trainer, r.now);
  EXPECT_EQ(pieces.at(PieceKind::kOptimizer), 1);
  EXPECT_EQ(r.trainer->version(), WeightVersion(1));
  EXPECT_EQ(r.s.host.trained.front().gradient_wait, Duration::milliseconds(3));
  EXPECT_EQ(r.s.host.all_reduces, 2) << "the other 100 tokens are another step";
  EXPECT_EQ(r.trainer->totals().samples, 2);
}

// A step begins with 100 tokens. When another replica waits, 50 do, and none does: the weights are the same everywhere.
TEST(Trainer, WhoIsAwaitedBeginsWithWhatThereIs) {
  TwoReplicas r;
  r.feedback(1);
  EXPECT_FALSE(r.trainer->next_piece(r.now, true));
  r.trainer->on_awaited();
  EXPECT_EQ(run_pieces(*r.trainer, r.now).at(PieceKind::kBackward), 2);
  ASSERT_TRUE(r.trainer->on_all_reduced(r.now, r.s.host.last_all_reduce()));
  run_pieces(*r.trainer, r.now);
  EXPECT_EQ(r.trainer->version(), WeightVersion(1));
  EXPECT_EQ(r.s.host.all_reduces, 1) << "nobody waits any more";

  r.trainer->on_awaited();
  EXPECT_TRUE(run_pieces(*r.trainer, r.now).empty());
  ASSERT_TRUE(r.trainer->on_all_reduced(r.now, r.s.host.last_all_reduce()));
  EXPECT_EQ(run_pieces(*r.trainer, r.now), (std::map<PieceKind, int>{{PieceKind::kOptimizer, 1}}));
  EXPECT_EQ(r.trainer->version(), WeightVersion(2));
  EXPECT_EQ(r.s.host.trained.back().tokens, 0);
}

// What is handed over is what nobody waits long for.
TEST(Trainer, LongSamplesComeFirst) {
  TwoReplicas r;
  r.feedback(1, 45);
  r.feedback(2, 55);
  ASSERT_TRUE(r.trainer->next_piece(r.now, true));
  EXPECT_EQ(r.trainer->hand_over(), 45);
}

// A step of two micro-batches of 50 tokens, of which the second goes back when another replica is done; and the other
// way round. What went back is trained in the next step.
TEST(Trainer, WhoWaitsTakesAMicroBatchOver) {
  TwoReplicas r;
  for (const std::uint32_t request : {1, 2, 3}) r.feedback(request);
  ASSERT_TRUE(r.trainer->next_piece(r.now, true));
  EXPECT_EQ(r.trainer->micro_batches_to_begin(), 1);
  EXPECT_EQ(r.trainer->ready_samples(), 1);
  EXPECT_EQ(r.trainer->hand_over(), 50);
  EXPECT_EQ(r.trainer->micro_batches_to_begin(), 0);
  EXPECT_EQ(r.trainer->ready_samples(), 2);
  EXPECT_EQ(run_pieces(*r.trainer, r.now).at(PieceKind::kBackward), 2);

  r.now = r.now + Duration::milliseconds(1);
  r.trainer->take_over(r.now, 70);  // a sample more would be another micro-batch
  EXPECT_EQ(r.trainer->micro_batches_to_begin(), 0);
  EXPECT_EQ(r.trainer->ready_samples(), 1);
  EXPECT_EQ(run_pieces(*r.trainer, r.now).at(PieceKind::kBackward), 2);
  EXPECT_EQ(r.s.host.step_targets, (std::vector<std::int64_t>{20, 20})) << "10 went and 10 came";
  EXPECT_EQ(r.s.host.all_reduces, 2);
  r.now = r.now + Duration::milliseconds(2);
  ASSERT_TRUE(r.trainer->on_all_reduced(r.now, r.s.host.last_all_reduce()));
  run_pieces(*r.trainer, r.now);
  const TrainingStep& step = r.s.host.trained.front();
  EXPECT_EQ(step.tokens, 100);
  EXPECT_EQ(step.gradient_wait, Duration::milliseconds(3));
}

// A trainer whose first sample has made the weights 1.
struct AfterOneStep {
  explicit AfterOneStep(std::int32_t max_version_lag, std::int32_t kept_versions = 0) {
    s.policy.train = make_train_decision("idle");
    TrainerConfig config = two_layers(100);
    config.training.max_version_lag = max_version_lag;
    config.kept_versions = kept_versions;
    trainer.emplace(config, s.pool, *s.store, s.policy, times, s.host);
    train({RequestId(7), SessionId(7), 60, 60, 0, 0});
    EXPECT_EQ(trainer->version(), WeightVersion(1));
  }
  void train(const Feedback& sample) {
    trainer->on_feedback(now, sample);
    run_pieces(*trainer, now);
  }

  testing::Store s{"stay", 60};
  const TimeOfTokens times;
  std::optional<Trainer> trainer;
  Time now;
};

// A record made with these weights lags by 0 versions, one made before by 1, as far as it may: the
// lags of the step add up to 1.
TEST(Trainer, LagsOfAStepsSamplesAddUp) {
  AfterOneStep r(1);
  for (const std::uint32_t request : {1, 2}) {
    r.s.record_of(request, request, 0, 40, request == 1 ? 1 : 0);
    r.trainer->on_feedback(r.now, {RequestId(request), SessionId(request), 40, 10, 0, 0});
  }
  run_pieces(*r.trainer, r.now);
  ASSERT_EQ(r.s.host.trained.size(), 2u);
  EXPECT_EQ(r.s.host.trained[1].reused_tokens, 80);
  EXPECT_EQ(r.s.host.trained[1].version_lag_sum, 1);
}

// A record of 40 tokens made with the weights of the step before, where none may lag: its tokens are computed again,
// and told as dropped.
TEST(Trainer, ARecordThatLagsTooFarIsDropped) {
  AfterOneStep r(0);
  r.s.record_of(2, 2, 0, 40, 0);
  r.train({RequestId(2), SessionId(2), 40, 60, 0, 0});
  ASSERT_EQ(r.s.host.trained.size(), 2u);
  EXPECT_EQ(r.s.host.trained[1].dropped_tokens, 40);
  EXPECT_EQ(r.s.host.trained[1].recomputed_tokens, 100);
}

// A sample whose prompt was recorded one version ago: its backward changes adapters once, between prompt and answer, if
// old ones are kept.
TEST(Trainer, PiecesTellWhereAdaptersChange) {
  for (const std::int32_t kept : {0, 9}) {
    AfterOneStep r(9, kept);
    r.s.record_of(2, 2, 0, 40, 0);
    r.trainer->on_feedback(r.now, {RequestId(2), SessionId(2), 40, 60, 0, 0});
    std::vector<double> forward, backward;
    run_pieces(*r.trainer, r.now, [&](const TrainingPiece& piece) {
      if (piece.kind == PieceKind::kForward) forward.push_back(piece.adapter_changes);
      if (piece.kind == PieceKind::kBackward) backward.push_back(piece.adapter_changes);
    });
    EXPECT_EQ(forward, (std::vector<double>{0, 0})) << "of the answer alone";
    EXPECT_EQ(backward, std::vector<double>(2, kept > 0 ? 1 : 0));
  }
}

// Nine tenths of 60 pages of 100 bytes. A token takes 10 bytes of activations, and a byte in each of two layers for the
// keys of one whose record is on the host: 450 fit. With 3 bytes more to work on, 360 do. Where a layer at a time is on
// the GPU and the other, 5 bytes, on the host, nine tenths of that hold 180 of its 1,000 bytes.
TEST(Trainer, TheLongestSampleFitsTheMemory) {
  struct Case {
    std::int64_t working;
    FreshActivations fresh;
    std::int32_t longest;
  };
  for (const Case& c : {Case{0, FreshActivations::kKeep, 450}, Case{3, FreshActivations::kKeep, 360},
                        Case{0, FreshActivations::kOffload, 180}}) {
    testing::Store s("eager", 60);
    s.policy.train = make_train_decision("idle");
    s.policy.fresh = c.fresh;
    const TimeOfTokens times;
    TrainerConfig config = two_layers(100'000);
    config.window_layers = 1;
    config.working_per_token = Bytes(c.working);
    Trainer trainer(config, s.pool, *s.store, s.policy, times, s.host);
    trainer.on_feedback(Time(), {RequestId(1), SessionId(1), c.longest - 10, 10, 0, 0});
    EXPECT_EQ(trainer.totals().too_long, 0) << c.longest;
    trainer.on_feedback(Time(), {RequestId(2), SessionId(2), c.longest - 9, 10, 0, 0});
    EXPECT_EQ(trainer.totals().too_long, 1) << c.longest;
    EXPECT_EQ(trainer.totals().queued_tokens, c.longest);
  }
}

// Of two samples that are ready and recorded a step takes the later one. The other is passed over, as it will be again:
// its record gives way to serving before the third, of whose feedback nothing is known yet.
TEST(Trainer, SamplesThatAStepPassesOverAreTold) {
  testing::Store s("stay", 60);
  s.policy.train = make_train_decision("idle");
  s.policy.samples = SampleOrder::kRecorded;
  const TimeOfTokens times;
  Trainer trainer(two_layers(50), s.pool, *s.store, s.policy, times, s.host);
  for (const std::uint32_t request : {1, 2, 3}) s.record(request);
  for (const std::uint32_t request : {1, 2}) {
    trainer.on_feedback(Time::from_ns(request), {RequestId(request), SessionId(request), 40, 10, 0, 0});
  }
  ASSERT_TRUE(trainer.next_piece(Time::from_ns(10), true));
  s.store->reclaim(Time::from_ns(20), 4, true);
  const auto is_there = [&](std::uint32_t request) {
    return s.store->saved_share({RequestId(request), SessionId(request), 40, 10, 0, 0}, {}, 1) > 0;
  };
  EXPECT_FALSE(is_there(1));
  EXPECT_TRUE(is_there(3));
}

// One layer's backward works on 5 bytes for each token, and has memory of its own for those of 40. A sample of 100
// tokens takes 100 * 10 bytes of activations and (100 - 40) * 5 to work on: 1,300 bytes are 13 pages of 100. Where
// that of 100 tokens is set aside, or more, activations alone.
TEST(Trainer, WorkingMemoryBeyondWhatIsSetAsideTakesPages) {
  for (const auto& [reserved, pages] : {std::pair(40, 13), std::pair(100, 10), std::pair(1'000, 10)}) {
    testing::Store s("stay", 60);
    s.policy.train = make_train_decision("idle");
    const TimeOfTokens times;
    TrainerConfig config = two_layers(100);
    config.working_per_token = Bytes(5);
    config.reserved_tokens = reserved;
    Trainer trainer(config, s.pool, *s.store, s.policy, times, s.host);
    trainer.on_feedback(Time(), {RequestId(1), SessionId(1), 40, 60, 0, 0});
    ASSERT_TRUE(trainer.next_piece(Time(), true));
    EXPECT_EQ(trainer.gpu_bytes(), Bytes(100 * pages)) << reserved;
  }
}

}  // namespace
}  // namespace alchemist

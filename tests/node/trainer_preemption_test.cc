// What happens to a micro-batch whose memory serving needs.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/node/piece_times.h"
#include "tests/node/store.h"

namespace alchemist {
namespace {

using testing::ask_in_turn;
using testing::TimeOfTokens;
using testing::two_layers;

// Two layers; samples of 50 tokens, which take 500 bytes, 5 of the 20 pages.
class Preempted : public ::testing::Test {
 protected:
  Preempted() : s_("eager", 20) {
    s_.policy.train = make_train_decision("idle");
    s_.policy.restore = make_restore_decision("reload");
    TrainerConfig config = two_layers(50);
    config.window_layers = 1;
    trainer_.emplace(config, s_.pool, *s_.store, s_.policy, times_, s_.host);
  }
  void feedback(std::uint32_t request) {
    trainer_->on_feedback(Time(), {RequestId(request), SessionId(request), 40, 10, 0, 0});
  }
  // The next piece, or its first `tokens`: "forward 0" or, if there is none, "".
  std::string run(std::int64_t tokens = 1'000'000, bool short_of_memory = false) {
    auto piece = trainer_->next_piece(Time(), false, short_of_memory);
    if (!piece) return "";
    piece->tokens = std::min(piece->tokens, tokens);
    trainer_->on_piece_submitted();
    trainer_->on_piece_done(Time(), *piece, times_.piece(*piece));
    switch (piece->kind) {
      case PieceKind::kForward:
        return "forward " + std::to_string(piece->layer);
      case PieceKind::kHead:
        return "head";
      case PieceKind::kBackward:
        return "backward " + std::to_string(piece->layer);
      case PieceKind::kOptimizer:
        return "optimizer";
      default:
        return "another";
    }
  }
  // A micro-batch has begun, and serving lacks `blocks` beside it.
  void give_way_once(std::int32_t blocks) {
    feedback(1);
    run();
    trainer_->give_way(blocks);
  }
  std::vector<std::string> run_all() {
    std::vector<std::string> pieces;
    for (std::string piece = run(); !piece.empty(); piece = run()) pieces.push_back(piece);
    return pieces;
  }

  testing::Store s_;
  const TimeOfTokens times_;
  std::optional<Trainer> trainer_;
};

using Names = std::vector<std::string>;

// In the middle of its forward nothing is worth keeping: the memory comes back at once, and all begins again.
TEST_F(Preempted, ForwardBeginsAgain) {
  feedback(1);
  EXPECT_EQ(run(), "forward 0");
  EXPECT_EQ(run(20), "forward 1");
  EXPECT_EQ(s_.pool.free(), 15);
  trainer_->give_way(3);
  EXPECT_EQ(s_.pool.free(), 20);
  EXPECT_FALSE(trainer_->gives_way());
  EXPECT_EQ(run(1'000, true), "") << "as long as serving waits for memory nothing takes it";
  EXPECT_EQ(s_.pool.free(), 20);
  EXPECT_EQ(run_all(), (Names{"forward 0", "forward 1", "head", "backward 1", "backward 0", "optimizer"}));
  EXPECT_EQ(trainer_->totals().preemptions, 1);
  EXPECT_EQ(trainer_->totals().samples, 1);
  const TrainingStep& step = s_.host.trained.at(0);
  EXPECT_EQ(step.tokens, 50);
  EXPECT_EQ(step.forward, Duration::microseconds(50 + 20 + 50 + 50)) << "what was for nothing counts";
}

// Sent to the host layer by layer, the activations are of no use any more when the micro-batch gives way: the host is
// told so at once, not with the next one, which may begin much later.
TEST_F(Preempted, TheHostIsToldAtOnce) {
  s_.policy.fresh = FreshActivations::kOffload;
  feedback(1);
  EXPECT_EQ(run(), "forward 0");
  EXPECT_TRUE(s_.host.in_micro_batch);
  EXPECT_GT(s_.store->host_bytes(), Bytes());
  trainer_->give_way(1);
  EXPECT_TRUE(s_.host.in_micro_batch) << "a copy is on its way";
  ASSERT_TRUE(trainer_->on_copy_done(Time(), s_.host.last()));
  EXPECT_FALSE(s_.host.in_micro_batch);
  EXPECT_EQ(s_.store->host_bytes(), Bytes());
}

// A layer that is half through its backward has given a part of its gradient: it ends first. Of the layer below the
// forward runs again, and nothing of the one that is done.
TEST_F(Preempted, BackwardEndsItsLayerAndGoesOnBelow) {
  feedback(1);
  for (int i = 0; i < 3; ++i) run();
  EXPECT_EQ(run(20), "backward 1");
  trainer_->give_way(3);
  EXPECT_TRUE(trainer_->gives_way());
  EXPECT_EQ(s_.pool.free(), 15);
  EXPECT_EQ(run(1'000, true), "backward 1");
  EXPECT_FALSE(trainer_->gives_way());
  EXPECT_EQ(s_.pool.free(), 20);
  EXPECT_EQ(run(), "forward 0");
  EXPECT_EQ(s_.pool.free(), 17) << "one layer of 5 bytes a token is all that it needs now";
  EXPECT_EQ(run_all(), (Names{"backward 0", "optimizer"}));
  EXPECT_EQ(s_.host.trained.at(0).tokens, 50);
}

TEST_F(Preempted, APieceOnItsWayEndsFirst) {
  feedback(1);
  const auto piece = trainer_->next_piece(Time(), false);
  ASSERT_TRUE(piece);
  trainer_->on_piece_submitted();
  trainer_->give_way(1);
  EXPECT_EQ(s_.pool.free(), 15);
  trainer_->on_piece_done(Time(), *piece, times_.piece(*piece));
  EXPECT_EQ(s_.pool.free(), 20);
}

// Copies that bring a layer of a record, and a layer's keys, cannot be recalled, but none follows them.
TEST_F(Preempted, ACopyOnItsWayEndsFirst) {
  s_.record_of(1, 1, 0, 40, 0);
  ASSERT_TRUE(s_.store->on_copy_done(Time(), s_.host.last()));
  std::vector<BlockId> others;
  s_.pool.allocate(s_.pool.free(), others);
  s_.store->reclaim(Time(), 1, true);  // the copy on the host remains
  s_.pool.release_first(others);
  feedback(1);
  const auto keys_0 = static_cast<std::uint32_t>(s_.host.copies.size());
  EXPECT_EQ(run(), "");
  ASSERT_TRUE(trainer_->on_copy_done(Time(), OpId(keys_0)));
  EXPECT_EQ(run(), "forward 0");
  trainer_->give_way(1);
  EXPECT_LT(s_.pool.free(), 20);
  EXPECT_EQ(run(), "");
  ASSERT_TRUE(trainer_->on_copy_done(Time(), OpId(keys_0 + 1)));
  EXPECT_LT(s_.pool.free(), 20);
  ASSERT_TRUE(trainer_->on_copy_done(Time(), OpId(keys_0 + 2)));
  EXPECT_EQ(s_.pool.free(), 20);
  ASSERT_EQ(s_.host.copies.size(), keys_0 + 3);
  EXPECT_EQ(s_.host.copies[keys_0].substr(0, 6), "keys 0");
  EXPECT_EQ(s_.host.copies[keys_0 + 1].substr(0, 4), "in 1");
  EXPECT_EQ(s_.host.copies[keys_0 + 2].substr(0, 6), "keys 1");
  s_.store->check_consistency();
}

// Serving lacked 6 pages beside a micro-batch of 5: the next one begins where as many are left over, and when one has
// got through, half of that will do.
TEST_F(Preempted, LeavesMoreToServingFromThenOn) {
  give_way_once(6);
  std::vector<BlockId> others;
  s_.pool.allocate(10, others);
  EXPECT_EQ(run(), "") << "5 of 10 pages would leave 5";
  s_.pool.release_first(std::span(others).subspan(9));
  others.resize(9);
  EXPECT_EQ(run_all().size(), 6u);
  s_.pool.allocate(2, others);
  feedback(2);
  EXPECT_EQ(run(), "forward 0") << "5 of 9 pages leave 4, and 3 will do now";
}

// Each time that serving takes the memory back again, twice as much is left to it, however little it lacks then.
TEST_F(Preempted, LeavesMoreAndMoreToServing) {
  give_way_once(6);
  EXPECT_EQ(run(), "forward 0") << "5 of 20 pages leave 15";
  trainer_->give_way(1);
  std::vector<BlockId> others;
  s_.pool.allocate(4, others);
  EXPECT_EQ(run(), "") << "5 of 16 pages would leave 11";
  s_.pool.release_first(std::span(others).subspan(3));
  EXPECT_EQ(run(), "forward 0");
}

// Serving that has nothing to do needs nothing.
TEST_F(Preempted, AloneItTakesAllThatIsThere) {
  give_way_once(6);
  std::vector<BlockId> others;
  s_.pool.allocate(15, others);
  EXPECT_EQ(run(), "");
  EXPECT_TRUE(trainer_->next_piece(Time(), true));
}

// Of two layers of 40 tokens both stay on the GPU, 4 pages of 20, until the first forward has ended. If by then the
// prefix cache makes use of all memory, and training has taken 64 times its own time, the micro-batch begins again with
// one layer at a time. Neither alone is a reason; nor is it one that training is no slower than it has ever been.
TEST_F(Preempted, GivesBackWhatItHoldsForLongerThanThought) {
  for (const bool missed : {false, true}) {
    for (const bool slow : {false, true}) {
      testing::Store s("eager", 20);
      s.policy.train = make_train_decision("idle");
      s.policy.fresh = FreshActivations::kSpill;
      TrainerConfig config = two_layers(40);
      config.window_layers = 1;
      Trainer trainer(config, s.pool, *s.store, s.policy, times_, s.host);
      const auto run = [&](Time begin, Time end) {
        const auto piece = trainer.next_piece(begin, false);
        ASSERT_TRUE(piece);
        trainer.on_piece_submitted();
        trainer.on_piece_done(end, *piece, times_.piece(*piece));
      };
      trainer.on_feedback(Time(), {RequestId(1), SessionId(1), 20, 20, 0, 0});
      const Time ended = Time() + Duration::microseconds(40 * (slow ? 65 : 63));
      run(Time(), ended);
      EXPECT_EQ(trainer.gpu_bytes(), Bytes(400));
      ask_in_turn(s.pool, 20, missed ? 20 : 100);
      const auto next = trainer.next_piece(ended, false);
      ASSERT_TRUE(next);
      const bool again = missed && slow;
      EXPECT_EQ(trainer.gpu_bytes(), Bytes(again ? 200 : 400)) << missed << slow;
      EXPECT_EQ(next->layer, again ? 0 : 1);
      EXPECT_EQ(trainer.totals().preemptions, again ? 1 : 0);
      if (!again) continue;
      run(ended, ended + Duration::microseconds(40 * 65));
      EXPECT_EQ(trainer.gpu_bytes(), Bytes(200));
      EXPECT_EQ(trainer.totals().preemptions, 1) << "it takes as little as it can already";
    }
  }
}

// Of eight layers of 40 tokens, 100 bytes each on the GPU, four stay there and four are sent to the host. What these
// hold there comes free when it begins again, as that a window of one layer, of which seven leave, finds room.
TEST_F(Preempted, WhatItHasOnTheHostIsNotMissingThere) {
  for (const FreshActivations fresh : {FreshActivations::kOffload, FreshActivations::kSpill}) {
    testing::Store s("eager", 20, 0, Bytes(700));
    s.policy.train = make_train_decision("idle");
    s.policy.fresh = fresh;
    if (fresh == FreshActivations::kSpill) ask_in_turn(s.pool, 20, 20);
    TrainerConfig config = two_layers(40);
    config.layers = 8;
    config.bytes = {Bytes(8), Bytes(16), Bytes(8), Bytes(8)};
    config.window_layers = 4;
    Trainer trainer(config, s.pool, *s.store, s.policy, times_, s.host);
    trainer.on_feedback(Time(), {RequestId(1), SessionId(1), 20, 20, 0, 0});
    const Time ended = Time() + Duration::microseconds(40 * 65);
    const auto piece = trainer.next_piece(Time(), false);
    ASSERT_TRUE(piece);
    trainer.on_piece_submitted();
    trainer.on_piece_done(ended, *piece, times_.piece(*piece));
    EXPECT_EQ(trainer.gpu_bytes(), Bytes(400));
    EXPECT_EQ(s.store->host_bytes(), Bytes(400));
    for (std::uint32_t op = 0; op < s.host.copies.size(); ++op) trainer.on_copy_done(ended, OpId(op));
    ask_in_turn(s.pool, 20, 20);
    ASSERT_TRUE(trainer.next_piece(ended, false));
    EXPECT_EQ(trainer.totals().preemptions, 1);
    EXPECT_EQ(trainer.gpu_bytes(), Bytes(100));
    EXPECT_EQ(s.store->host_bytes(), Bytes(600));
  }
}

}  // namespace
}  // namespace alchemist

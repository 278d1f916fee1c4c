// What steps are charged while caches are cold.
#include "sim/engine/turn_costs.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

constexpr Duration kAlone = Duration::microseconds(10'000);
constexpr Duration us(std::int64_t count) { return Duration::microseconds(count); }

// The first step behind a change takes 800 us longer, all together 3,200: each a quarter less than the one before.
ColdStart cold_caches() {
  ColdStart cold;
  cold.serving = us(800);
  cold.steps = 4;
  cold.prompt_tokens = 200;
  cold.idle = us(10'000);
  cold.training = us(70);
  return cold;
}

Duration excess(TurnCosts& turns, std::int64_t prompt_tokens = 0, Duration idle = Duration()) {
  return turns.step(prompt_tokens, idle, kAlone, Duration()) - kAlone;
}

TEST(TurnCosts, StepsBehindTrainingWarmUpByAndBy) {
  TurnCosts turns(cold_caches(), 1);
  EXPECT_EQ(excess(turns), us(0));
  EXPECT_EQ(turns.piece(PieceKind::kForward, 1, kAlone, Duration()), kAlone + us(70));
  EXPECT_EQ(turns.piece(PieceKind::kForward, 1, kAlone, Duration()), kAlone);
  EXPECT_EQ(excess(turns), us(800));
  EXPECT_EQ(excess(turns), us(600));
  EXPECT_EQ(excess(turns), us(450));
  Duration sum = us(800 + 600 + 450);
  for (int step = 0; step < 60; ++step) sum += excess(turns);
  EXPECT_NEAR(static_cast<double>(sum.count_ns()), 3.2e6, 100);  // each is rounded down
  EXPECT_EQ(turns.piece(PieceKind::kForward, 1, kAlone, Duration()), kAlone + us(70));
  EXPECT_EQ(excess(turns), us(800));
}

TEST(TurnCosts, IdleTimeCoolsInProportionUpToItsLimit) {
  TurnCosts turns(cold_caches(), 1);
  EXPECT_EQ(excess(turns, 0, us(2'500)), us(200));
  EXPECT_EQ(excess(turns, 0, us(10'000)), us(800));
  EXPECT_EQ(excess(turns, 0, us(1)), us(600));  // as cold as the step before has left it
  EXPECT_EQ(excess(turns, 0, us(90'000)), us(800));
}

// Half of the tokens that leave nothing warm, whose own price holds half of a cold start.
TEST(TurnCosts, PromptsLeaveCachesColdAndWerePricedInSuch) {
  TurnCosts turns(cold_caches(), 1);
  EXPECT_EQ(excess(turns, 100), us(0));
  EXPECT_EQ(excess(turns), us(400));
  EXPECT_EQ(excess(turns), us(300));
  turns.piece(PieceKind::kForward, 1, kAlone, Duration());
  EXPECT_EQ(excess(turns, 100), us(400));
  EXPECT_EQ(excess(turns), us(600));
  EXPECT_EQ(excess(turns, 1'000, us(50'000)), us(0));
  EXPECT_EQ(excess(turns, 1'000), us(0));
  EXPECT_EQ(excess(turns), us(800));
}

// Of 400 tokens that leave nothing warm a piece of 100 leaves a quarter of a cold start, and two one after the other
// two quarters; the optimizer and the head leave all of it.
TEST(TurnCosts, SmallPiecesLeaveSomethingWarm) {
  ColdStart cold = cold_caches();
  cold.piece_tokens = 400;
  TurnCosts turns(cold, 1);
  turns.piece(PieceKind::kBackward, 100, kAlone, Duration());
  EXPECT_EQ(excess(turns), us(200));
  EXPECT_EQ(excess(turns), us(150));
  for (int step = 0; step < 60; ++step) excess(turns);
  turns.piece(PieceKind::kForward, 100, kAlone, Duration());
  turns.piece(PieceKind::kForward, 100, kAlone, Duration());
  EXPECT_NEAR(static_cast<double>(excess(turns).count_ns()), 400e3, 10);
  turns.piece(PieceKind::kBackward, 9'000, kAlone, Duration());
  EXPECT_EQ(excess(turns), us(800));
  for (const PieceKind kind : {PieceKind::kOptimizer, PieceKind::kHead}) {
    for (int step = 0; step < 60; ++step) excess(turns);
    turns.piece(kind, 1, kAlone, Duration());
    EXPECT_EQ(excess(turns), us(800));
  }
}

TEST(TurnCosts, WithoutFiguresNothingIsCold) {
  ColdStart cold;
  TurnCosts none(cold, 1);
  none.piece(PieceKind::kForward, 1, kAlone, Duration());
  EXPECT_EQ(excess(none, 4'096, us(1'000'000)), us(0));
  cold.serving = us(800);  // but neither prompts nor idleness matter, and the first step warms all
  TurnCosts turns(cold, 1);
  EXPECT_EQ(excess(turns, 4'096, us(1'000'000)), us(0));
  EXPECT_EQ(excess(turns), us(0));
  turns.piece(PieceKind::kForward, 1, kAlone, Duration());
  EXPECT_EQ(excess(turns), us(800));
  EXPECT_EQ(excess(turns), us(0));
}

}  // namespace
}  // namespace alchemist

#include "sim/node/piece_part.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

namespace alchemist {
namespace {

class GivenTimes final : public Estimator {
 public:
  explicit GivenTimes(std::function<double(double)> us_of) : us_of_(std::move(us_of)) {}
  Duration piece(const TrainingPiece& piece) const override {
    return Duration::seconds(us_of_(static_cast<double>(size_of(piece))) * 1e-6);
  }
  Duration copy(LinkDirection, Bytes) const override { return Duration(); }

 private:
  std::function<double(double)> us_of_;
};

constexpr std::int64_t kAny = std::int64_t{1} << 40;

// Later tokens attend to more.
double keys_of(const TrainingPiece& piece) {
  return static_cast<double>(piece.tokens * (2 * piece.first_token + piece.tokens));
}

std::optional<PricedPiece> part_within(const TrainingPiece& piece, const TrainAllowance& allowance,
                                       const Estimator& estimator, std::int64_t tile = 1) {
  return part_within(piece, allowance, estimator, keys_of, tile);
}

TrainingPiece piece_of(std::int64_t tokens) {
  TrainingPiece piece;
  piece.tokens = tokens;
  piece.attended_keys = keys_of(piece);
  return piece;
}

// The weights take 100 us, each token 0.5 us. Of 2,000 tokens (1,100 us) 800 fit into 500 us; a straight share would be
// 909 tokens, which take 555 us. Up to a token for rounding.
TEST(PiecePart, FillsTheTimeThatItHas) {
  const GivenTimes times([](double tokens) { return 100 + 0.5 * tokens; });
  const auto part = part_within(piece_of(2'000), {Duration::microseconds(500), kAny}, times);
  ASSERT_TRUE(part);
  EXPECT_NEAR(static_cast<double>(part->piece.tokens), 800, 2);
  EXPECT_LE(part->expected, Duration::microseconds(500));
  EXPECT_EQ(part->expected, times.piece(part->piece));
  EXPECT_EQ(part->piece.attended_keys, keys_of(part->piece));
}

TEST(PiecePart, AWholePieceThatFitsStaysWhole) {
  const GivenTimes times([](double tokens) { return tokens; });
  const auto part = part_within(piece_of(50), {Duration::microseconds(50), kAny}, times);
  ASSERT_TRUE(part);
  EXPECT_EQ(part->piece.tokens, 50);  // although it is small
  EXPECT_EQ(part->expected, Duration::microseconds(50));
}

// Time grows faster than tokens, in steps, or not at all: the part keeps to its time whatever the curve is.
TEST(PiecePart, NeverTakesLonger) {
  const std::vector<std::function<double(double)>> curves = {[](double tokens) { return 20 + tokens * tokens / 4'000; },
                                                             [](double tokens) { return 30 * std::ceil(tokens / 128); },
                                                             [](double tokens) { return std::max(300.0, tokens / 2); },
                                                             [](double) { return 800.0; }};
  for (const auto& curve : curves) {
    const GivenTimes times(curve);
    for (std::int64_t us = 1; us <= 1'200; us += 7) {
      const Duration allowed = Duration::microseconds(us);
      const auto part = part_within(piece_of(2'000), {allowed, kAny}, times);
      if (!part) continue;
      EXPECT_LE(times.piece(part->piece), allowed);
      EXPECT_GE(part->piece.tokens, 128);
    }
  }
}

// Of 2,000 tokens 800 fit, but 768 = 6 * 128 are the most whole tiles; the smallest part is a tile. What fits as a
// whole is not cut, and an optimizer has no tokens.
TEST(PiecePart, PartsAreWholeTiles) {
  const GivenTimes times([](double tokens) { return 100 + 0.5 * tokens; });
  const TrainAllowance allowance = {Duration::microseconds(500), kAny};
  EXPECT_EQ(part_within(piece_of(2'000), allowance, times, 128)->piece.tokens, 768);
  EXPECT_EQ(part_within(piece_of(2'000), allowance, times, 300)->piece.tokens, 600);
  EXPECT_EQ(part_within(piece_of(700), allowance, times, 128)->piece.tokens, 700);
  EXPECT_FALSE(part_within(piece_of(2'000), allowance, times, 1'000));
  TrainAllowance little{Duration::microseconds(10), kAny};
  little.smallest_part = true;
  EXPECT_EQ(part_within(piece_of(2'000), little, times, 100)->piece.tokens, 200);
  EXPECT_EQ(part_within(piece_of(2'000), {Duration::max(), 300}, times, 128)->piece.tokens, 256);
  TrainingPiece optimizer;
  optimizer.kind = PieceKind::kOptimizer;
  optimizer.parameters = 10'000'001;
  const GivenTimes by_parameters([](double parameters) { return 1e-3 * parameters; });
  EXPECT_EQ(part_within(optimizer, {Duration::milliseconds(5), kAny}, by_parameters, 128)->piece.parameters, 5'000'000);
}

// A piece of 1,100 us. Cut from 800 us on, it does not run in 799 us, and 700 tokens, which take 450 us, run whole.
TEST(PiecePart, IsCutOnlyFromATimeOn) {
  const GivenTimes times([](double tokens) { return 100 + 0.5 * tokens; });
  TrainAllowance allowance{Duration::microseconds(799), kAny};
  allowance.cut_from = Duration::microseconds(800);
  EXPECT_FALSE(part_within(piece_of(2'000), allowance, times));
  EXPECT_EQ(part_within(piece_of(700), allowance, times)->piece.tokens, 700);
  allowance.time = Duration::microseconds(800);
  EXPECT_NEAR(static_cast<double>(part_within(piece_of(2'000), allowance, times)->piece.tokens), 1'400, 2);
}

TEST(PiecePart, TokensAreALimitToo) {
  const GivenTimes times([](double tokens) { return tokens; });
  const auto part = part_within(piece_of(2'000), {Duration::max(), 300}, times);
  ASSERT_TRUE(part);
  EXPECT_EQ(part->piece.tokens, 300);
  EXPECT_FALSE(part_within(piece_of(2'000), {Duration::max(), 100}, times));  // not worth a launch
  EXPECT_FALSE(part_within(piece_of(2'000), {Duration::max(), -5}, times));
  EXPECT_FALSE(part_within(piece_of(2'000), {}, times));
}

// An idle device on which no part fits runs the smallest that is worth a launch; a piece smaller than that, whole.
TEST(PiecePart, TheSmallestMayTakeLonger) {
  const GivenTimes times([](double tokens) { return 100 + 0.5 * tokens; });
  const TrainAllowance little = {Duration::nanoseconds(1), kAny}, at_least_one = {Duration::nanoseconds(1), kAny, true};
  EXPECT_FALSE(part_within(piece_of(2'000), little, times));
  EXPECT_EQ(part_within(piece_of(2'000), at_least_one, times)->piece.tokens, 128);
  EXPECT_EQ(part_within(piece_of(50), at_least_one, times)->piece.tokens, 50);
  EXPECT_FALSE(part_within(piece_of(2'000), {Duration(), kAny, true}, times));  // nothing is allowed at all
}

TEST(PiecePart, OptimizerIsDividedByItsParameters) {
  const GivenTimes times([](double parameters) { return parameters * 1e-5; });
  TrainingPiece piece;
  piece.kind = PieceKind::kOptimizer;
  piece.parameters = 100'000'000;
  const auto part = part_within(piece, {Duration::microseconds(250), 10}, times);
  ASSERT_TRUE(part);
  EXPECT_NEAR(static_cast<double>(part->piece.parameters), 25'000'000, 2);
}

// A quarter of a piece of 1,000 tokens: of what is run again or rebuilt for some of them, a quarter too.
TEST(PiecePart, HasItsShareOfWhatIsRebuilt) {
  TrainingPiece piece = piece_of(1'000);
  piece.kind = PieceKind::kBackward;
  piece.checkpoint_tokens = 600;
  piece.rebuild_tokens = 400;
  piece.adapter_changes = 6;
  const TrainingPiece part = first_part(piece, 250, keys_of);
  EXPECT_EQ(part.tokens, 250);
  EXPECT_EQ(part.checkpoint_tokens, 150);
  EXPECT_EQ(part.rebuild_tokens, 100);
  EXPECT_EQ(part.adapter_changes, 1.5);
}

}  // namespace
}  // namespace alchemist

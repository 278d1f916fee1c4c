#include "sim/app/breakeven.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "sim/app/hardware_config.h"
#include "sim/app/model_config.h"
#include "sim/model/training_cost.h"

namespace alchemist {
namespace {

class Breakeven : public testing::Test {
 protected:
  // One layer of 8,192 tokens in sequences of 2,048, each token attending to (2,048 + 1) / 2 keys on average.
  double layer_seconds(PieceKind kind) const {
    TrainingPiece piece;
    piece.kind = kind;
    piece.tokens = 8192;
    piece.attended_keys = 8192 * 2049 / 2.0;
    return TrainingCost(hardware, model, lora, 1).piece(piece).in_seconds();
  }

  // What the head, all of whose tokens are targets, takes longer where they come from records.
  double output_seconds() const {
    const TrainingCost cost(hardware, model, lora, 1);
    TrainingPiece head;
    head.kind = PieceKind::kHead;
    head.tokens = 8192;
    const double alone = cost.piece(head).in_seconds();
    head.recorded_targets = 8192;
    return cost.piece(head).in_seconds() - alone;
  }

  const ModelShape model = load_model("llama-3.1-8b");
  const HardwareSpec hardware = load_hardware("h200");
  const TrainingShape lora;
};

// 94,344 bytes a token a layer over 10 GB/s: 77.287 ms and 10 us a layer, far more than its backward. The step is the
// link's 32 layers and then the backward of layer 0.
TEST_F(Breakeven, SlowLink) {
  const BreakevenPoint point = breakeven_point(model, hardware, lora, 2048, 10e9);
  EXPECT_EQ(point.batch_tokens, 8192);
  EXPECT_EQ(breakeven_point(model, hardware, lora, 16384, 10e9).batch_tokens, 16384) << "one sequence at least";
  const double reload = 94'344.0 * 8192 / 10e9 + 10e-6;
  EXPECT_NEAR(point.seconds.reload_all, 32 * reload + layer_seconds(PieceKind::kBackward), 1e-6);
}

// What recomputing adds is the forward of 32 layers, whatever the link; the head gets the last one's output from there
// and not from a record.
TEST_F(Breakeven, Recompute) {
  for (const double link : {10e9, 450e9}) {
    const RestoreSeconds s = breakeven_point(model, hardware, lora, 2048, link).seconds;
    EXPECT_NEAR(s.recompute_all - s.resident, 32 * layer_seconds(PieceKind::kForward) - output_seconds(), 1e-6);
    EXPECT_NEAR(s.resident,
                32 * layer_seconds(PieceKind::kBackward) + layer_seconds(PieceKind::kHead) + output_seconds(), 1e-6);
  }
}

TEST_F(Breakeven, NoPlanBeatsTheOptimumAndNoneWhatIsResident) {
  const std::vector<BreakevenPoint> points = breakeven_points(model, hardware);
  EXPECT_EQ(points.size(), 2U * 6 * 9);  // methods, links (the H200's 55 GB/s is among them), 512 to 131,072 tokens
  for (const BreakevenPoint& point : points) {
    const RestoreSeconds& s = point.seconds;
    EXPECT_LE(s.race, std::min(s.reload_all, s.recompute_all) + 1e-9);
    EXPECT_LE(s.planned, s.race + 1e-9);
    EXPECT_LE(s.resident, s.planned + 1e-9);
  }
}

TEST_F(Breakeven, ContextIsTheShortestThatPays) {
  EXPECT_EQ(breakeven_context(model, hardware, lora, 10e9), std::nullopt);
  EXPECT_EQ(breakeven_context(model, hardware, lora, 450e9), 1);
  const std::optional<std::int64_t> context = breakeven_context(model, hardware, lora, 55e9);
  ASSERT_TRUE(context);
  const auto gain = [&](std::int64_t tokens) {
    const RestoreSeconds s = breakeven_point(model, hardware, lora, tokens, 55e9).seconds;
    return s.recompute_all / s.reload_all;
  };
  EXPECT_GE(gain(*context), 1);
  EXPECT_LT(gain(*context - 1), 1);
  EXPECT_NEAR(gain(*context), 1, 0.05);  // products are made of whole tiles, so that a token more may cost a tile
}

}  // namespace
}  // namespace alchemist

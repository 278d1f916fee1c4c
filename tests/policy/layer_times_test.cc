#include "sim/policy/layer_times.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

// A piece costs 1 ms a token, 2 ms more for each rebuilt token, 3 ms for each recorded target and 1 us a key, ten times
// as much in the head; a copy costs 1 s and 1 ms a byte.
class SimpleEstimator final : public Estimator {
 public:
  Duration piece(const TrainingPiece& piece) const override {
    const double ms = static_cast<double>(piece.tokens) + 2.0 * static_cast<double>(piece.rebuild_tokens) +
                      3.0 * static_cast<double>(piece.recorded_targets) + 1e-3 * piece.attended_keys;
    return Duration::seconds(1e-3 * ms * (piece.kind == PieceKind::kHead ? 10 : 1));
  }
  Duration copy(LinkDirection direction, Bytes bytes) const override {
    EXPECT_EQ(direction, LinkDirection::kHostToDevice);
    return Duration::seconds(1 + 1e-3 * bytes.as_double());
  }
};

// 10 tokens with 1,000 keys on 2 layers; 5 of them, with 300 keys, have a record, 2 of these a lean one; 4 have a loss,
// of which 3 a record, one a lean one; 4 bytes a lean token, 12 a whole one.
TEST(LayerTimes, AreThoseOfTheTokensConcerned) {
  RestoreDemand demand;
  demand.layers = 2;
  demand.tokens = 10;
  demand.targets = 4;
  demand.attended_keys = 1000;
  demand.recorded = 5;
  demand.recorded_keys = 300;
  demand.lean = 2;
  demand.recorded_targets = 3;
  demand.lean_targets = 1;
  demand.lean_per_token = Bytes(4);
  demand.minimal_per_token = Bytes(12);
  const LayerTimes times = layer_times(demand, SimpleEstimator());
  EXPECT_EQ(times.layers, 2);
  EXPECT_NEAR(times.forward, 5.3e-3, 1e-12);         // 5 tokens and their keys
  EXPECT_NEAR(times.backward, 11e-3, 1e-12);         // all tokens, all keys
  EXPECT_NEAR(times.rebuild_gate_up, 10e-3, 1e-12);  // of all 5 records
  EXPECT_NEAR(times.head, 40e-3, 1e-12);             // of the 4 with a loss
  EXPECT_NEAR(times.output, 110e-3, 1e-12);          // of the 3 that have a record, and gate and up of one
  EXPECT_NEAR(times.reload_lean, 1 + 10e-3, 1e-12);  // 5 * 4 / 2 bytes of a layer
  EXPECT_NEAR(times.reload_full, 1 + 22e-3, 1e-12);  // and 3 * 8 / 2
}

}  // namespace
}  // namespace alchemist

#include "sim/policy/layer_times.h"

namespace alchemist {
namespace {

double piece_seconds(const RestoreDemand& demand, const Estimator& estimator, PieceKind kind, std::int64_t tokens,
                     std::int64_t rebuilt = 0) {
  TrainingPiece piece;
  piece.kind = kind;
  piece.tokens = tokens;
  piece.attended_keys = demand.attended_keys * static_cast<double>(tokens) / static_cast<double>(demand.tokens);
  piece.rebuild_tokens = rebuilt;
  return estimator.piece(piece).in_seconds();
}

}  // namespace

LayerTimes layer_times(const RestoreDemand& demand, const Estimator& estimator) {
  const auto copy_seconds = [&](Bytes all_layers) {
    return estimator.copy(LinkDirection::kHostToDevice, Bytes(all_layers.count() / demand.layers)).in_seconds();
  };
  const Bytes gate_up = demand.minimal_per_token - demand.lean_per_token;
  const Bytes lean = demand.lean_per_token * demand.recorded;
  LayerTimes times;
  times.layers = demand.layers;
  times.forward = piece_seconds(demand, estimator, PieceKind::kRecompute, demand.recorded);
  times.backward = piece_seconds(demand, estimator, PieceKind::kBackward, demand.tokens);
  times.rebuild_gate_up =
      piece_seconds(demand, estimator, PieceKind::kBackward, demand.tokens, demand.recorded) - times.backward;
  times.reload_lean = copy_seconds(lean);
  times.reload_full = copy_seconds(lean + gate_up * (demand.recorded - demand.lean));
  times.head = piece_seconds(demand, estimator, PieceKind::kHead, demand.targets);
  return times;
}

}  // namespace alchemist

#include "sim/policy/layer_times.h"

namespace alchemist {
namespace {

double piece_seconds(const Estimator& estimator, PieceKind kind, std::int64_t tokens, double keys,
                     std::int64_t rebuilt = 0, std::int64_t recorded_targets = 0) {
  TrainingPiece piece;
  piece.kind = kind;
  piece.tokens = tokens;
  piece.attended_keys = keys;
  piece.rebuild_tokens = rebuilt;
  piece.recorded_targets = recorded_targets;
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
  times.forward = piece_seconds(estimator, PieceKind::kForward, demand.recorded, demand.recorded_keys);
  times.backward = piece_seconds(estimator, PieceKind::kBackward, demand.tokens, demand.attended_keys);
  times.rebuild_gate_up =
      piece_seconds(estimator, PieceKind::kBackward, demand.tokens, demand.attended_keys, demand.recorded) -
      times.backward;
  times.reload_lean = copy_seconds(lean);
  times.reload_full = copy_seconds(lean + gate_up * (demand.recorded - demand.lean));
  times.head = piece_seconds(estimator, PieceKind::kHead, demand.targets, 0);
  times.output =
      piece_seconds(estimator, PieceKind::kHead, demand.targets, 0, demand.lean_targets, demand.recorded_targets) -
      times.head;
  return times;
}

}  // namespace alchemist

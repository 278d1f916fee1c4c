// The unit in which training runs beside serving: one layer of one micro-batch, so that a serving step waits for at
// most one piece.
#pragma once

#include <cstdint>

#include "sim/base/observer.h"

namespace alchemist {

enum class PieceKind : std::uint8_t {
  kReference,      // forward of the frozen model, whose activations nobody keeps
  kReferenceHead,  // its output head, for the log-probabilities of the answers
  // Of tokens that nobody recorded, and of those whose record exists but is not brought back for this layer: produces
  // all that backward needs.
  kForward,
  kHead,      // output head and loss, forward and backward
  kBackward,  // of one layer
  // Update of the weights, once a training step, the all-reduce of their gradients included. It writes the new weights
  // over their gradients, and the two change places when all is done: serving never sees half an update.
  kOptimizer,
};

struct TrainingPiece {
  PieceKind kind = PieceKind::kForward;
  std::int32_t layer = 0;
  std::int64_t first_token = 0;  // or parameter: of all that this kind of piece has to do in this layer, if divided
  std::int64_t tokens = 0;
  std::int64_t parameters = 0;  // optimizer: updated by this piece
  double attended_keys = 0;     // sum over the tokens of the keys that each attends to
  // Backward: tokens whose gate and up are rebuilt from a lean record first. Head: the same of recorded_targets.
  std::int64_t rebuild_tokens = 0;
  std::int64_t recorded_targets = 0;   // head: tokens with a target whose last layer was not run, but is recorded
  std::int64_t checkpoint_tokens = 0;  // backward: tokens whose layer is run forward again from its input first
  // Forward, backward: from one row to the next, how often it has other adapters (BackwardWeights::kRecorded). Of a
  // part its share, which need not be whole.
  double adapter_changes = 0;
  bool beside = false;  // on SMs of its own, at once, whatever serving does; otherwise in its turn
};

inline TrainingPhase phase_of(PieceKind kind) {
  switch (kind) {
    case PieceKind::kReference:
    case PieceKind::kReferenceHead:
    case PieceKind::kForward:
      return TrainingPhase::kForward;
    case PieceKind::kOptimizer:
      return TrainingPhase::kOptimizer;
    default:
      return TrainingPhase::kBackward;
  }
}

}  // namespace alchemist

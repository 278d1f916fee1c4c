// What an operation takes longer than on a GPU that does the same kind of work all the time: when caches are cold, and
// while copies share the memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "sim/base/time.h"
#include "sim/engine/operation_kind.h"

namespace alchemist {

// Decode steps find the weights in caches, as far as these hold them. Training, long prompts and time without work
// leave the caches to other data (or to other users of the machine), and it takes several steps until all is back.
struct ColdStart {
  Duration serving;                // of the first step behind training; each further step takes less longer
  double steps = 1;                // >= 1: what all steps behind it take longer, in units of the first
  std::int64_t piece_tokens = 0;   // of pieces of a layer, that leave caches so cold; 0: any piece does
  std::int64_t prompt_tokens = 0;  // of a step, that leave caches as cold as training does; 0: none do
  Duration idle;                   // time without work that does; 0: none does
  Duration training;               // of a piece behind serving
};

class TurnCosts {
 public:
  // `copy_slowdown`: factor >= 1 on the time of kernels as long as copies run beside them.
  TurnCosts(const ColdStart& cold, double copy_slowdown) : cold_(cold), copy_slowdown_(copy_slowdown) {}

  // Time of the next step, which takes `alone` among its like. `idle`: how long nothing ran before it; `copies`: how
  // long copies run from its begin on, be it longer than the step.
  Duration step(std::int64_t prompt_tokens, Duration idle, Duration alone, Duration copies) {
    trained_last_ = false;
    if (cold_.serving > Duration()) alone = with_cold_caches(prompt_tokens, idle, alone);
    return beside_copies(alone, copies);
  }
  // `tokens`: of the piece.
  Duration piece(PieceKind kind, std::int64_t tokens, Duration alone, Duration copies) {
    if (!std::exchange(trained_last_, true)) alone += cold_.training;
    coldness_ = std::min(1.0, coldness_ + left_cold_by(kind, tokens));
    return beside_copies(alone, copies);
  }
  // Of a piece that has SMs of its own, for which nobody changes turns. While the copies run, kernels get 1 /
  // copy_slowdown of their work done.
  Duration beside_copies(Duration alone, Duration copies) const {
    if (copies <= Duration() || copy_slowdown_ == 1) return alone;
    return std::min(scaled(alone, copy_slowdown_), alone + scaled(copies, 1 - 1 / copy_slowdown_));
  }

 private:
  // A long prompt was measured behind others like it, in caches as cold as it leaves them: its price has that part.
  Duration with_cold_caches(std::int64_t prompt_tokens, Duration idle, Duration alone) {
    const double found = std::max(coldness_, share(idle.count_ns(), cold_.idle.count_ns()));
    const double left = share(prompt_tokens, cold_.prompt_tokens);
    coldness_ = std::max(found * (1 - 1 / cold_.steps), left);
    return alone + scaled(cold_.serving, std::max(0.0, found - left));
  }
  // The optimizer and the head pass over more than any cache holds.
  double left_cold_by(PieceKind kind, std::int64_t tokens) const {
    const OperationKind operation = kind_of(kind);
    const bool layer = operation == OperationKind::kForward || operation == OperationKind::kBackward;
    return layer && cold_.piece_tokens > 0 ? share(tokens, cold_.piece_tokens) : 1;
  }
  static double share(std::int64_t amount, std::int64_t of) {
    return of > 0 ? std::min(1.0, static_cast<double>(amount) / static_cast<double>(of)) : 0;
  }

  ColdStart cold_;
  double copy_slowdown_;
  bool trained_last_ = false;
  double coldness_ = 0;  // share of a cold start that the next step pays, 0..1
};

}  // namespace alchemist

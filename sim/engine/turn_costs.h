// What an operation takes longer than on a GPU that runs nothing else: after a turn of the other kind, whose data fill
// the caches, and while copies share the memory.
#pragma once

#include <cstdint>
#include <utility>

#include "sim/base/time.h"
#include "sim/engine/operation_kind.h"

namespace alchemist {

// Of the first operation of a turn.
struct ColdStart {
  Duration serving;
  Duration training;
};

class TurnCosts {
 public:
  // `copy_slowdown`: factor >= 1 on the time of kernels that start while a transfer is in flight. `factors`: on the
  // whole of each operation, where it is known how far its price is off.
  TurnCosts(const ColdStart& cold, double copy_slowdown, const OperationFactors& factors = kAsPriced)
      : cold_(cold), copy_slowdown_(copy_slowdown), factors_(factors) {}

  // Time of the next step or piece, which takes `alone` on a warm GPU; `copying`: transfers are in flight.
  Duration step(bool computes_prompt, Duration alone, bool copying) {
    if (std::exchange(trained_last_, false)) alone += cold_.serving;
    return charged(computes_prompt ? OperationKind::kPrefill : OperationKind::kDecode, alone, copying);
  }
  Duration piece(PieceKind kind, Duration alone, bool copying) {
    if (!std::exchange(trained_last_, true)) alone += cold_.training;
    return charged(kind_of(kind), alone, copying);
  }
  // Of a piece that has SMs of its own, for which nobody changes turns.
  Duration piece_beside(PieceKind kind, Duration alone, bool copying) const {
    return charged(kind_of(kind), alone, copying);
  }

 private:
  Duration charged(OperationKind kind, Duration alone, bool copying) const {
    const Duration beside = copying ? times(alone, copy_slowdown_) : alone;
    const double factor = factors_[static_cast<std::size_t>(kind)];
    return factor == 1 ? beside : times(beside, factor);
  }
  static Duration times(Duration duration, double factor) {
    return Duration::nanoseconds(static_cast<std::int64_t>(static_cast<double>(duration.count_ns()) * factor));
  }

  ColdStart cold_;
  double copy_slowdown_;
  OperationFactors factors_;
  bool trained_last_ = false;
};

}  // namespace alchemist

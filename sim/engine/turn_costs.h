// What an operation takes longer than on a GPU that runs nothing else: after a turn of the other kind, whose data fill
// the caches, and while copies share the memory.
#pragma once

#include <cstdint>
#include <utility>

#include "sim/base/time.h"

namespace alchemist {

// Of the first operation of a turn.
struct ColdStart {
  Duration serving;
  Duration training;
};

class TurnCosts {
 public:
  TurnCosts() = default;  // none: of a GPU that does not train
  // `copy_slowdown`: factor >= 1 on the time of kernels that start while a transfer is in flight.
  TurnCosts(const ColdStart& cold, double copy_slowdown) : cold_(cold), copy_slowdown_(copy_slowdown) {}

  // Time of the next step or piece, which takes `alone` on a warm GPU; `copying`: transfers are in flight.
  Duration step(Duration alone, bool copying) {
    return beside_copies(std::exchange(trained_last_, false) ? alone + cold_.serving : alone, copying);
  }
  Duration piece(Duration alone, bool copying) {
    return beside_copies(std::exchange(trained_last_, true) ? alone : alone + cold_.training, copying);
  }
  // Of a piece that has SMs of its own, for which nobody changes turns.
  Duration beside_copies(Duration alone, bool copying) const {
    if (!copying) return alone;
    return Duration::nanoseconds(static_cast<std::int64_t>(static_cast<double>(alone.count_ns()) * copy_slowdown_));
  }

 private:
  ColdStart cold_;
  double copy_slowdown_ = 1;
  bool trained_last_ = false;
};

}  // namespace alchemist

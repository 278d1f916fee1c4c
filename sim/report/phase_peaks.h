// Peaks of memory by what the GPU was doing: which of prefill, decode and training's phases needs how much.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "sim/base/observer.h"

namespace alchemist {

// The largest value that a quantity has had since a moment. The moments of its changes ascend.
class SlidingPeak {
 public:
  void set(Time now, Bytes value);
  Bytes since(Time start) const;  // zero before the first set()
  // Nobody asks for what was before `start` any more.
  void forget_before(Time start);

 private:
  struct Entry {
    Bytes value;
    Time until;
  };
  // The present value last; before it, each value that was larger than all later ones and may still be asked for.
  std::deque<Entry> entries_;
};

enum class MemoryPhase : std::uint8_t { kPrefill, kDecode, kRestore, kForward, kBackward, kOptimizer };
inline constexpr std::size_t kMemoryPhases = 6;

// What one replica had at most while it was in a phase.
struct PhasePeak {
  std::int64_t operations = 0;
  MemoryUse peak;
  Bytes peak_total;
};

// Each span of a replica comes when it has ended and its memory is told (RunObserver). Those of serving come in the
// order of their start, and so do those of training, which may run beside them.
class PhasePeaks {
 public:
  void on_memory(ReplicaId replica, Time now, const MemoryUse& use);
  void on_serving_span(const ServingSpan& span);
  void on_training_span(const TrainingSpan& span);

  // By phase; of the replica that had most, category by category.
  const std::array<PhasePeak, kMemoryPhases>& peaks() const { return peaks_; }

 private:
  struct Replica {
    SlidingPeak weights, kv, activations, training, host, total;
    Time serving, training_piece;  // starts of the last spans; later ones do not start earlier
  };
  Replica& at(ReplicaId replica);
  void on_span(Replica& of, MemoryPhase phase, Time start);

  std::vector<Replica> replicas_;
  std::array<PhasePeak, kMemoryPhases> peaks_{};
};

}  // namespace alchemist

// Peaks of memory by what the GPU was doing: which of prefill, decode and training's phases needs how much.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "sim/base/observer.h"

namespace alchemist {

// The largest value that a quantity has had since a moment. Both the moments of its changes and those that are asked
// for ascend.
class SlidingPeak {
 public:
  void set(Time now, Bytes value);
  Bytes since(Time start);  // zero before the first set()

 private:
  struct Entry {
    Bytes value;
    Time until;
  };
  // The present value last; before it, each value that was larger than all later ones and had an end that was not asked
  // about yet.
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

// Spans of a replica come in the order of their start, each when it has ended and its memory is told (RunObserver).
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
  };
  Replica& at(ReplicaId replica);
  void on_span(ReplicaId replica, MemoryPhase phase, Time start);

  std::vector<Replica> replicas_;
  std::array<PhasePeak, kMemoryPhases> peaks_{};
};

}  // namespace alchemist

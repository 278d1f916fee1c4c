// trace.json: a run as Chrome trace events, for Perfetto or chrome://tracing.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "sim/base/observer.h"
#include "sim/report/output_file.h"

namespace alchemist {

// Streams events into `file`. A process is a replica; its threads are the lanes serving, training, host-to-device and
// device-to-host; its counters are GPU memory by category, host memory and the queue. Spans of one lane never overlap:
// transfers that share a link get lanes of their own beside the first. Times are microseconds, exact to the nanosecond.
class TraceEvents final : public RunObserver {
 public:
  explicit TraceEvents(OutputFile& file);

  void on_preemption(ReplicaId replica, RequestId request, Time now) override;
  void on_serving_span(const ServingSpan& span) override;
  void on_memory(ReplicaId replica, Time now, const MemoryUse& use) override;
  void on_transfer(const TransferSpan& span) override;
  void on_training_span(const TrainingSpan& span) override;

  void finish();  // closes the JSON document; nothing may follow

 private:
  enum Lane : std::uint8_t { kServing, kTraining, kHostToDevice, kDeviceToHost, kLanes };
  struct Replica {
    bool named = false;
    std::vector<Time> busy_until[kLanes];  // of each lane and of those beside it
    std::optional<MemoryUse> memory;
    std::optional<std::pair<std::int32_t, std::int32_t>> queue;
  };

  Replica& replica(ReplicaId id);
  // Thread id of a lane of this kind that is free from start to end; named on first use. Spans of a kind are told in
  // order of their start or of their end.
  int lane_for(ReplicaId id, Lane kind, Time start, Time end);
  void begin_event();  // separator
  template <class... Args>
  void event(std::string_view format, const Args&... args);
  void name(std::string_view what, ReplicaId id, int thread, std::string_view value);
  void name_lane(ReplicaId id, Lane kind, std::size_t beside);

  OutputFile& file_;
  std::vector<Replica> replicas_;
  bool first_ = true;
};

}  // namespace alchemist

// The simulated GPU of one replica: prices each operation, lets its end come as an event, and knows how long each
// answer really is.
//
// A decode run advances inside one call for as long as no other event could interfere (the horizon), so that many steps
// cost one event. The result is the same as with one event a step.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/base/observer.h"
#include "sim/base/workload.h"
#include "sim/engine/event_queue.h"
#include "sim/model/step_cost.h"
#include "sim/node/host.h"

namespace alchemist {

enum class SimEventKind : std::uint8_t { kStepEnd, kWake };

struct SimEvent {
  SimEventKind kind;
  ReplicaId replica;
};

using SimEventQueue = EventQueue<SimEvent>;

class SimHost final : public Host {
 public:
  struct Options {
    bool single_steps = false;  // one event a step; slower, same results (tests compare the two)
  };

  // All references outlive the host.
  SimHost(ReplicaId replica, const StepCost& cost, SimEventQueue& queue, RunObserver& observer, Options options);

  // Takes a request into the world; the arrival is what the node may know of it.
  Arrival accept(RequestId id, const WorkloadRequest& request);

  OpId submit(const ServingOp& op) override;
  void wake_at(Time when) override;

  // The present, which the engine sets before it calls the node.
  void set_now(Time now) { now_ = now; }
  // An event waits for the node: a run in progress ends with its current step.
  void interrupt() { interrupted_ = true; }

  struct Ended {
    Time time;              // >= the event's time: a run may have gone on up to the horizon
    Completion completion;  // its span is valid until the next call
  };
  // The step in progress ends at `now`. Continues a run while its next step ends before `horizon`; none if the run goes
  // on past it (its next end is in the queue).
  std::optional<Ended> on_step_end(Time now, Time horizon);

  // The request of a handle that the last completion ended, as it is reported. Frees the handle.
  RequestOutcome take_outcome(RequestHandle handle, Time now);

  // Steps begun of the operation in progress; none if there is none.
  std::optional<std::int64_t> steps_begun() const { return in_progress_ ? std::optional(steps_ + 1) : std::nullopt; }

  std::int64_t live_requests() const { return live_; }
  Duration busy() const { return busy_; }

 private:
  struct Request {
    RequestId id;
    WorkloadRequest spec;
    std::int32_t produced = 0;      // tokens of the answer so far, unless decoding
    std::int64_t finish_clock = 0;  // while decoding: the step count at which its last token comes
    bool decoding = false;
    bool scheduled = false;
    Time scheduled_at;
    Time first_token;
    Time last_token;  // valid while preempted
    std::int32_t prefix_hit_tokens = 0;
    std::int32_t preemptions = 0;
  };
  struct Finish {
    std::int64_t clock;
    std::uint64_t order;  // of joining: ties end in the order in which they joined
    RequestHandle request;
    bool operator>(const Finish& other) const {
      return clock != other.clock ? clock > other.clock : order > other.order;
    }
  };

  Request& at(RequestHandle handle) { return requests_[handle.value()]; }
  void leave_batch(RequestHandle handle);
  void record_step(Time end);
  void emit_prefill_tokens(Time end);
  void join_batch(RequestHandle handle);
  void collect_ended();
  void report_span(Time end);

  ReplicaId replica_;
  const StepCost& cost_;
  SimEventQueue& queue_;
  RunObserver& observer_;
  Options options_;
  Time now_;

  std::vector<Request> requests_;  // by handle
  std::vector<RequestHandle> free_handles_;
  std::int64_t live_ = 0;

  std::int64_t clock_ = 0;        // steps ended
  std::vector<Finish> finishes_;  // min-heap; entries of requests that left are skipped
  std::uint64_t joined_ = 0;
  std::int32_t batch_size_ = 0;
  Time last_step_end_;  // when every request of the batch got its latest token

  // The operation in progress.
  bool in_progress_ = false;
  bool interrupted_ = false;
  OpId next_op_;
  Time op_start_;
  Time step_start_;
  BatchShape shape_;
  std::int64_t max_steps_ = 1;
  std::int64_t steps_ = 0;
  std::vector<PrefillWork> prefills_;
  std::vector<PrefillChunk> chunks_;
  std::int32_t running_ = 0;
  std::int32_t waiting_ = 0;
  std::vector<RequestHandle> ended_;
  Duration busy_;
};

}  // namespace alchemist

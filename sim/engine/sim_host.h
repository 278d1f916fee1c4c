// The simulated GPU of one replica: prices each operation, lets its end come as an event, and knows how long each
// answer really is.
//
// A decode run advances inside one call for as long as no other event could interfere (the horizon), so that many steps
// cost one event. The result is the same as with one event a step.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sim/base/observer.h"
#include "sim/base/workload.h"
#include "sim/engine/event_queue.h"
#include "sim/engine/link.h"
#include "sim/engine/price_factors.h"
#include "sim/engine/request_book.h"
#include "sim/engine/step_run.h"
#include "sim/engine/turn_costs.h"
#include "sim/model/step_cost.h"
#include "sim/model/training_cost.h"
#include "sim/node/host.h"

namespace alchemist {

enum class SimEventKind : std::uint8_t { kStepStart, kStepEnd, kPieceEnd, kLink, kFeedback, kAllReduce, kWake };

struct SimEvent {
  SimEventKind kind;
  ReplicaId replica;
  std::uint32_t data = 0;  // kLink: version of the link's state; kFeedback: index of the sample
};

using SimEventQueue = EventQueue<SimEvent>;

// Training on a share of the SMs while serving has the rest, in place of turns.
struct BesideCosts {
  const StepCost* serving = nullptr;       // on the rest; both outlive the host
  const TrainingCost* training = nullptr;  // on its share
  double bandwidth = 0;                    // bytes/s of the memory that both share
};

class SimHost final : public Host {
 public:
  struct Options {
    StepRun::Options steps;  // with single_steps, one event a step: slower, same results (tests compare the two)
    ColdStart cold_start;
    PriceFactors factors;
  };

  // What it takes to train.
  struct TrainingHost {
    const TrainingCost* cost = nullptr;  // outlives the host
    LinkSpec link;
    std::optional<BesideCosts> beside;
  };
  // All references outlive the host.
  SimHost(ReplicaId replica, const StepCost& cost, SimEventQueue& queue, RunObserver& observer, Options options,
          std::optional<TrainingHost> training = {});

  // Takes a request into the world; the arrival is what the node may know of it.
  Arrival accept(RequestId id, const WorkloadRequest& request) { return book_.accept(id, request); }

  OpId submit(const ServingOp& op) override;
  OpId submit(const TrainingPiece& piece) override;
  OpId submit(const CopyOp& copy) override;
  OpId all_reduce() override;
  void begin(const MicroBatchWork&) override {}  // simulated activations lie nowhere
  void end_micro_batch() override {}
  void forget(RecordId) override {}
  void report(const TrainingStep& step, std::span<const TrainedSample> samples) override;
  void wake_at(Time when) override;

  // The present, which the engine sets before it calls the node.
  void set_now(Time now) { now_ = now; }
  // The engine looks for new requests: those that have arrived are its own from now on.
  void take_in(Time now) { book_.take_in(now); }
  // An event waits for the node: a run in progress ends as soon as it can.
  void interrupt() { steps_.interrupt(); }

  struct Report {
    Time time;              // >= the time of the event: a run may have gone on up to the horizon
    Completion completion;  // its span is valid until the next call
  };
  // The step in progress ends at `now`. Continues a run while its next step ends before `horizon`; none if the run goes
  // on past it (its next end is in the queue).
  std::optional<Report> on_step_end(Time now, Time horizon);
  // After the node has been told something: starts a queued operation if the GPU is free, and returns what the node
  // has to be told at once. To be called until there is nothing more.
  std::optional<Completion> after_node();

  // The host has prepared the step that an idle GPU waits for: it starts with the next after_node().
  void on_step_start() { waits_for_host_ = false; }

  // The training piece in progress ends.
  Completion on_piece_end(Time now);
  // An event of the link, unless it is out of date. The copies that are complete now, in order.
  std::vector<Completion> on_link(Time now, std::uint32_t version);

  // All replicas have joined the all-reduce that this one waits for.
  Completion on_all_reduced();
  // This one takes work over instead.
  void leave_all_reduce() { all_reduce_.reset(); }

  bool has_reported() const { return step_.has_value(); }
  // What this replica did in the training step that was reported since the last call, if one was.
  std::optional<TrainingStep> take_step() { return std::exchange(step_, std::nullopt); }
  // Samples of it.
  struct TrainedRequest {
    TrainedSample sample;
    Time at;
  };
  std::vector<TrainedRequest> take_trained() { return std::exchange(trained_, {}); }

  // The request of a handle that the last report ended, as it is told to observers. Frees the handle.
  RequestOutcome take_outcome(RequestHandle handle, Time now) { return book_.take_outcome(handle, now); }

  std::optional<StepRun::Progress> progress() const { return steps_.progress(); }

  std::int64_t live_requests() const { return book_.live(); }
  Duration busy() const { return steps_.busy(); }

 private:
  struct Piece {
    OpId id;
    TrainingPiece piece;
    Time start;
  };

  bool wait_for_host();
  void begin_step(Time start);
  void push_step_end() { queue_.push(step_end_, EventPriority::kStepEnd, {SimEventKind::kStepEnd, replica_}); }
  OpId new_op() {
    const OpId id = next_op_;
    next_op_ = OpId(next_op_.value() + 1);
    return id;
  }
  void start_piece();
  OpId start_beside(const TrainingPiece& piece);
  Duration step_time() const;
  Duration copies_left(Time from) const { return link_ ? link_->time_left(from) : Duration(); }
  void schedule_link();
  void tell_link();

  ReplicaId replica_;
  const StepCost& cost_;
  SimEventQueue& queue_;
  RunObserver& observer_;
  Options options_;
  Time now_;

  RequestBook book_;
  StepRun steps_;

  OpId next_op_;
  Time ready_;                   // the host has prepared the first step of the queued operation
  bool waits_for_host_ = false;  // until then the GPU is idle
  Time step_end_;
  Time device_free_;  // the last step or piece that had the GPU to itself ends or has ended
  BatchShape shape_;  // of the step in progress
  std::vector<PrefillChunk> chunks_;

  std::optional<TrainingHost> training_;
  TurnCosts turns_;
  std::optional<Link> link_;
  bool kernels_running_ = false;    // as the link was told
  std::uint32_t link_version_ = 0;  // of the event in the queue that is valid
  std::unordered_map<TransferId, OpId> copies_;
  std::vector<FinishedTransfer> finished_transfers_;
  std::optional<Piece> queued_piece_;
  std::optional<Piece> piece_;      // in progress
  std::optional<Piece> beside_;     // in progress on SMs of its own
  double slowdown_ = 1;             // of serving by its traffic, >= 1
  std::optional<OpId> all_reduce_;  // joined
  std::optional<TrainingStep> step_;
  std::vector<TrainedRequest> trained_;
};

}  // namespace alchemist

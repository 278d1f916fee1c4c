// A run in the real world: requests arrive by the wall clock, a real device serves them and trains, observers watch.
// The same node, the same events and the same observers as in the simulation (sim/engine/simulation.h).
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <optional>

#include "sim/base/observer.h"
#include "sim/base/workload.h"
#include "sim/engine/feedback_book.h"
#include "sim/engine/simulation.h"
#include "sim/node/node.h"
#include "sim/node/node_log.h"
#include "sim/node/node_replay.h"
#include "validate/real_host.h"

namespace alchemist {

class RealRun {
 public:
  // Of the configuration one replica is run, which serves and trains on one device; `prices` is told of every operation
  // that the device ran. All references outlive the run.
  RealRun(const SimulationConfig& config, Decoder& model, std::optional<LinkPace> pace, WorkloadSource& workload,
          RunObserver& observer, OperationPrices& prices);

  // Runs until no request is left and none will come. If the device fails, what it threw is in error() and the totals
  // are those of the part that was done. An InternalError is thrown: behind it no total can be trusted.
  SimulationTotals run();
  // What the model has in use; free until the run begins.
  PagedMemory arena() const { return host_.arena(); }
  std::exception_ptr error() const { return error_; }

 private:
  void loop();
  Time next_deadline() const;
  bool is_over() const;
  Time stamp();
  void admit_arrivals(Time now);
  void admit(const WorkloadRequest& request, Time now);
  void deliver_feedback(Time now);
  void deliver_wake(Time now);
  void handle(const JobDone& done);
  void end_requests(const RealHost::Report& report);
  void answer(Time now);
  void report_memory(Time now);
  void finish();
  template <class Event>
  void record(Time now, const Event& event) {
    if (recorder_) recorder_->event(now, event);
  }

  SimulationConfig config_;
  WorkloadSource& workload_;
  RunObserver& observer_;
  WallClock clock_;
  RealHost host_;
  std::unique_ptr<NodeRecorder> recorder_;
  std::unique_ptr<Node> node_;
  std::optional<FeedbackBook> feedback_;
  std::multimap<Time, Feedback> due_;  // of one moment in the order in which the answers ended
  Time last_stamp_;
  std::exception_ptr error_;
  SimulationTotals totals_;
};

}  // namespace alchemist

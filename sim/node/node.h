// One replica's brain: a deterministic function of the stamped events it is given. It has no clock and acts only
// through its Host, so the same node drives a simulated GPU and a real one.
#pragma once

#include "sim/base/events.h"
#include "sim/node/host.h"
#include "sim/node/scheduler.h"

namespace alchemist {

class Node {
 public:
  // `host` outlives the node.
  Node(const ServingConfig& config, std::int32_t kv_blocks, Host& host);

  void on_arrival(Time now, const Arrival& arrival);
  void on_completion(Time now, const Completion& completion);
  void on_wake(Time now);

  // The outstanding run has begun its `steps`-th step; brings the scheduler up to date before a router looks at it.
  void catch_up(std::int64_t steps) { scheduler_.catch_up(steps); }

  const Scheduler& scheduler() const { return scheduler_; }
  bool idle() const { return !busy_; }

 private:
  void submit_next();

  Scheduler scheduler_;
  Host& host_;
  bool busy_ = false;  // an operation is outstanding
  bool wake_asked_ = false;
};

}  // namespace alchemist

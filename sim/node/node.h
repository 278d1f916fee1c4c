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

  // The operation `op` has begun its `steps`-th step; brings the scheduler up to date before a router looks at it.
  void catch_up(OpId op, std::int64_t steps);

  const Scheduler& scheduler() const { return scheduler_; }

 private:
  void on_newest(const Completion& completion);
  bool next_step_is_planned() const;
  void submit_next();

  Scheduler scheduler_;
  Host& host_;
  bool async_;
  int outstanding_ = 0;  // operations submitted and not done: at most two with asynchronous scheduling, else one
  OpId newest_op_;       // the one submitted last
  bool newest_in_last_step_ = false;
  bool wake_asked_ = false;
};

}  // namespace alchemist

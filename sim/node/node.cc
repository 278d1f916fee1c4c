#include "sim/node/node.h"

#include "sim/base/check.h"

namespace alchemist {

Node::Node(const ServingConfig& config, std::int32_t kv_blocks, Host& host)
    : scheduler_(config, kv_blocks), host_(host), async_(config.async_scheduling) {}

void Node::on_arrival(Time now, const Arrival& arrival) {
  scheduler_.enqueue(arrival);
  // An idle engine starts once all requests that arrive at the same moment are in its queue.
  if (outstanding_ == 0 && !wake_asked_) {
    wake_asked_ = true;
    host_.wake_at(now);
  }
}

void Node::on_completion(Time, const Completion& completion) {
  check(outstanding_ > 0, "a completion answers an operation");
  if (completion.op == newest_op_) {
    on_newest(completion);
  } else {
    check(completion.done, "nothing is planned behind an operation before its last step");
    scheduler_.end(completion.ended);
  }
  if (completion.done) --outstanding_;
  if (outstanding_ == 0 || (outstanding_ == 1 && newest_in_last_step_)) submit_next();
}

void Node::on_newest(const Completion& completion) {
  const bool next_planned = next_step_is_planned();
  scheduler_.catch_up(completion.steps + (next_planned ? 1 : 0));
  if (completion.done && !next_planned) scheduler_.commit();
  scheduler_.end(completion.ended);
  if (completion.done && next_planned) scheduler_.drop_planned();
  newest_in_last_step_ = !completion.done;
}

void Node::on_wake(Time) {
  wake_asked_ = false;
  if (outstanding_ == 0) submit_next();
}

void Node::catch_up(OpId op, std::int64_t steps) {
  if (outstanding_ == 0 || op != newest_op_) return;
  scheduler_.catch_up(steps + (next_step_is_planned() ? 1 : 0));
}

// With asynchronous scheduling the step of a run that follows the one in progress is planned already, except behind the
// run's last step.
bool Node::next_step_is_planned() const { return async_ && !newest_in_last_step_; }

void Node::submit_next() {
  const auto op = scheduler_.plan();
  if (!op) return;
  newest_op_ = host_.submit(*op);
  newest_in_last_step_ = false;
  ++outstanding_;
}

}  // namespace alchemist

#include "sim/node/node.h"

#include "sim/base/check.h"

namespace alchemist {

Node::Node(const ServingConfig& config, std::int32_t kv_blocks, Host& host)
    : scheduler_(config, kv_blocks), host_(host) {}

void Node::on_arrival(Time now, const Arrival& arrival) {
  scheduler_.enqueue(arrival);
  // An idle engine starts once all requests that arrive at the same moment are in its queue.
  if (!busy_ && !wake_asked_) {
    wake_asked_ = true;
    host_.wake_at(now);
  }
}

void Node::on_completion(Time, const Completion& completion) {
  check(busy_, "a completion answers an operation");
  busy_ = false;
  scheduler_.complete(completion);
  submit_next();
}

void Node::on_wake(Time) {
  wake_asked_ = false;
  if (!busy_) submit_next();
}

void Node::submit_next() {
  if (const auto op = scheduler_.plan()) {
    host_.submit(*op);
    busy_ = true;
  }
}

}  // namespace alchemist

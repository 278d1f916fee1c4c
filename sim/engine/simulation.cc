#include "sim/engine/simulation.h"

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/base/longest_run.h"

namespace alchemist {

Simulation::Simulation(const SimulationConfig& config, const StepCost& cost, WorkloadSource& workload,
                       RunObserver& observer)
    : config_(config), workload_(workload), observer_(observer), router_(config.routing) {
  check(config.replicas >= 1, "at least one replica");
  for (std::int32_t i = 0; i < config.replicas; ++i) {
    const ReplicaId id(static_cast<std::uint32_t>(i));
    Replica replica;
    SimHost::Options options = config.host;
    options.announce_last_step = config.serving.async_scheduling;
    replica.host = std::make_unique<SimHost>(id, cost, queue_, observer, options);
    replica.node = std::make_unique<Node>(config.serving, config.kv_blocks, *replica.host);
    nodes_.push_back(replica.node.get());
    replicas_.push_back(std::move(replica));
    report_memory(replicas_.back(), id, Time());
  }
}

SimulationTotals Simulation::run() {
  for (;;) {
    const std::optional<Time> arrival = workload_.peek();
    if (arrival && *arrival <= queue_.next_time()) {  // arrivals come first among events of the same time
      admit_arrival();
    } else if (!queue_.empty()) {
      handle(queue_.pop());
    } else {
      break;
    }
  }
  check(workload_.exhausted(), "a workload that waits for answers gets them");
  for (const Replica& replica : replicas_) {
    check(replica.host->live_requests() == 0, "every request that arrived has ended");
    check(replica.node->scheduler().pool().used() == 0, "every KV block was given back");
    totals_.busy += replica.host->busy();
  }
  check(totals_.arrived == totals_.completed + totals_.rejected, "requests are conserved");
  return totals_;
}

Time Simulation::horizon() const {
  const std::optional<Time> arrival = workload_.peek();
  return arrival ? std::min(*arrival, queue_.next_time()) : queue_.next_time();
}

void Simulation::admit_arrival() {
  const WorkloadRequest request = workload_.next();
  const Time now = request.arrival;
  if (now.since_start() > kLongestRun) {
    throw ConfigError("the workload goes on for more than 100 years of simulated time: expected a higher rate or fewer requests");
  }
  const RequestId id(static_cast<std::uint32_t>(totals_.arrived++));
  totals_.end = std::max(totals_.end, now);
  const std::int32_t total_tokens = request.prompt_tokens + request.output_tokens;
  if (!nodes_.front()->scheduler().can_ever_fit(total_tokens) ||
      (config_.serving.max_model_len && total_tokens > *config_.serving.max_model_len)) {
    ++totals_.rejected;
    workload_.on_finished(request.session, request.turn, now);
    return;
  }
  Arrival probe;
  probe.prompt_tokens = request.prompt_tokens;
  probe.content = request.content;
  if (config_.routing == Routing::kPrefixAware) {
    for (Replica& replica : replicas_) {
      if (const auto progress = replica.host->progress()) replica.node->catch_up(progress->op, progress->steps_begun);
    }
  }
  const std::size_t chosen = router_.choose(probe, nodes_);
  Replica& replica = replicas_[chosen];
  const Arrival arrival = replica.host->accept(id, request);
  observer_.on_request_arrived(ReplicaId(static_cast<std::uint32_t>(chosen)), id, now);
  replica.host->set_now(now);
  replica.host->interrupt();
  replica.node->on_arrival(now, arrival);
  answer(replica, now);
}

// Tells the node what its host has to say at once, until it has nothing more.
void Simulation::answer(Replica& replica, Time now) {
  while (const auto completion = replica.host->after_node()) replica.node->on_completion(now, *completion);
}

void Simulation::handle(const SimEventQueue::Event& event) {
  Replica& replica = replicas_[event.payload.replica.value()];
  switch (event.payload.kind) {
    case SimEventKind::kStepEnd:
      handle_step_end(replica, event.payload.replica, event.time);
      return;
    case SimEventKind::kWake:
      replica.host->set_now(event.time);
      replica.node->on_wake(event.time);
      answer(replica, event.time);
      return;
  }
}

void Simulation::handle_step_end(Replica& replica, ReplicaId id, Time now) {
  const auto report = replica.host->on_step_end(now, horizon());
  if (!report) return;
  totals_.end = std::max(totals_.end, report->time);
  replica.host->set_now(report->time);
  for (const RequestHandle handle : report->completion.ended) {
    const RequestOutcome outcome = replica.host->take_outcome(handle, report->time);
    ++totals_.completed;
    observer_.on_request_outcome(outcome);
    workload_.on_finished(outcome.session, outcome.turn, report->time);
  }
  replica.node->on_completion(report->time, report->completion);
  answer(replica, report->time);
  report_memory(replica, id, report->time);
}

void Simulation::report_memory(const Replica& replica, ReplicaId id, Time now) {
  MemoryUse use;
  use.weights = config_.weight_bytes;
  use.kv = config_.kv_block_bytes * replica.node->scheduler().pool().used();
  observer_.on_memory(id, now, use);
}

}  // namespace alchemist

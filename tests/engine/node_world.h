// One node and its simulated host, driven as Simulation drives them, with every command of the node written down and
// the block pool checked at each of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/base/check.h"
#include "sim/engine/sim_host.h"
#include "sim/node/node.h"
#include "tests/engine/support.h"

namespace alchemist::testing {

struct Command {
  Time time;
  std::string text;
};

// Hands everything on to another host.
class RecordingHost final : public Host {
 public:
  OpId submit(const ServingOp& op) override {
    std::ostringstream text;
    for (const PrefillWork& work : op.prefills) {
      text << "prefill " << work.request.value() << ' ' << work.chunk.tokens << '+' << work.chunk.context
           << (work.last ? " last, " : ", ");
    }
    for (const RequestHandle handle : op.preempted) text << "preempt " << handle.value() << ", ";
    text << op.max_steps << " steps, " << op.running << " running, " << op.waiting << " waiting";
    commands.push_back({now, text.str()});
    on_submit(op);
    return inner->submit(op);
  }
  OpId submit(const TrainingPiece& piece) override { return inner->submit(piece); }
  OpId submit(const CopyOp& copy) override { return inner->submit(copy); }
  OpId all_reduce() override { return inner->all_reduce(); }
  void begin(const MicroBatchWork& work) override { inner->begin(work); }
  void end_micro_batch() override { inner->end_micro_batch(); }
  void forget(RecordId record) override { inner->forget(record); }
  void report(const TrainingStep& step, std::span<const TrainedSample> samples) override {
    inner->report(step, samples);
  }
  void wake_at(Time when) override {
    commands.push_back({now, "wake at " + std::to_string(when.count_ns())});
    inner->wake_at(when);
  }

  SimHost* inner = nullptr;
  Time now;
  std::vector<Command> commands;
  std::function<void(const ServingOp&)> on_submit;
};

class NodeWorld {
 public:
  NodeWorld(const SimulationConfig& config, const StepCost& cost, WorkloadSource& workload, RunObserver& observer)
      : workload_(workload),
        observer_(observer),
        host_(ReplicaId(0), cost, queue_, observer, options(config)),
        node_(config.serving, config.kv_blocks, recorder_) {
    recorder_.inner = &host_;
    recorder_.on_submit = [this](const ServingOp& op) {
      node_.scheduler().pool().check_consistency();
      if (on_serving) on_serving(recorder_.now, op);
    };
  }
  // For those who look on: an operation before the host has it, a completion before the node is told.
  std::function<void(Time, const ServingOp&)> on_serving;
  std::function<void(Time, const Completion&)> on_completion;
  std::uint32_t number_of(RequestHandle handle) const { return numbers_[handle.value()]; }  // in the workload
  std::int32_t free_blocks() const { return node_.scheduler().pool().free(); }

  // Every request must fit the pool.
  std::vector<Command> run() {
    for (;;) {
      const std::optional<Time> arrival = workload_.peek();
      if (arrival && *arrival <= queue_.next_time()) {
        admit();
      } else if (!queue_.empty()) {
        handle(queue_.pop());
      } else {
        break;
      }
    }
    check(host_.live_requests() == 0, "every request has ended");
    check(node_.scheduler().pool().used() == 0, "every block was given back");
    node_.scheduler().pool().check_consistency();
    return std::move(recorder_.commands);
  }

 private:
  static SimHost::Options options(const SimulationConfig& config) {
    SimHost::Options options = config.host;
    options.steps.announce_last_step = config.serving.async_scheduling;
    return options;
  }
  void set_now(Time now) {
    recorder_.now = now;
    host_.set_now(now);
  }
  void complete(Time now, const Completion& completion) {
    if (on_completion) on_completion(now, completion);
    node_.on_completion(now, completion);
  }
  void answer(Time now) {
    while (const auto completion = host_.after_node()) complete(now, *completion);
  }
  void admit() {
    const WorkloadRequest request = workload_.next();
    const Arrival arrival = host_.accept(RequestId(next_id_), request);
    if (arrival.request.value() >= numbers_.size()) numbers_.resize(arrival.request.value() + 1);
    numbers_[arrival.request.value()] = next_id_++;
    set_now(request.arrival);
    host_.interrupt();
    node_.on_arrival(request.arrival, arrival);
    answer(request.arrival);
  }
  void handle(const SimEventQueue::Event& event) {
    if (event.payload.kind == SimEventKind::kWake) {
      set_now(event.time);
      node_.on_wake(event.time);
      answer(event.time);
      return;
    }
    const std::optional<Time> arrival = workload_.peek();
    const Time horizon = arrival ? std::min(*arrival, queue_.next_time()) : queue_.next_time();
    const auto report = host_.on_step_end(event.time, horizon);
    if (!report) return;
    set_now(report->time);
    for (const RequestHandle handle : report->completion.ended) {
      observer_.on_request_outcome(host_.take_outcome(handle, report->time));
    }
    complete(report->time, report->completion);
    answer(report->time);
  }

  WorkloadSource& workload_;
  RunObserver& observer_;
  SimEventQueue queue_;
  SimHost host_;
  RecordingHost recorder_;
  Node node_;
  std::uint32_t next_id_ = 0;
  std::vector<std::uint32_t> numbers_;  // by handle
};

}  // namespace alchemist::testing

#include "sim/engine/sim_host.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {

SimHost::SimHost(ReplicaId replica, const StepCost& cost, SimEventQueue& queue, RunObserver& observer, Options options)
    : replica_(replica), cost_(cost), queue_(queue), observer_(observer), options_(options) {}

Arrival SimHost::accept(RequestId id, const WorkloadRequest& spec) {
  check(spec.prompt_tokens >= 1 && spec.output_tokens >= 1, "a request has a prompt and an answer");
  RequestHandle handle(static_cast<std::uint32_t>(requests_.size()));
  if (free_handles_.empty()) {
    requests_.emplace_back();
  } else {
    handle = free_handles_.back();
    free_handles_.pop_back();
  }
  Request& request = at(handle);
  request = Request();
  request.id = id;
  request.spec = spec;
  ++live_;
  return {handle, id, spec.session, spec.prompt_tokens, spec.content};
}

OpId SimHost::submit(const ServingOp& op) {
  check(!in_progress_, "a host runs one serving operation at a time");
  in_progress_ = true;
  interrupted_ = false;
  for (const RequestHandle handle : op.preempted) leave_batch(handle);
  prefills_.assign(op.prefills.begin(), op.prefills.end());
  chunks_.assign(op.shape.prefills.begin(), op.shape.prefills.end());
  shape_ = op.shape;
  shape_.prefills = chunks_;
  check(shape_.decodes == batch_size_, "node and host agree on who decodes");
  max_steps_ = options_.single_steps ? 1 : op.max_steps;
  steps_ = 0;
  running_ = op.running;
  waiting_ = op.waiting;
  op_start_ = step_start_ = now_;
  for (const PrefillWork& work : prefills_) {
    Request& request = at(work.request);
    if (request.scheduled) continue;
    request.scheduled = true;
    request.scheduled_at = now_;
    request.prefix_hit_tokens = work.chunk.context;
  }
  queue_.push(now_ + cost_.step(shape_), EventPriority::kStepEnd, {SimEventKind::kStepEnd, replica_});
  const OpId id = next_op_;
  next_op_ = OpId(next_op_.value() + 1);
  return id;
}

void SimHost::wake_at(Time when) { queue_.push(when, EventPriority::kWake, {SimEventKind::kWake, replica_}); }

void SimHost::leave_batch(RequestHandle handle) {
  Request& request = at(handle);
  ++request.preemptions;
  observer_.on_preemption(replica_, request.id, now_);
  if (!request.decoding) return;
  request.produced = request.spec.output_tokens - static_cast<std::int32_t>(request.finish_clock - clock_);
  request.last_token = last_step_end_;
  request.decoding = false;
  --batch_size_;
  const auto entry =
      std::find_if(finishes_.begin(), finishes_.end(), [&](const Finish& finish) { return finish.request == handle; });
  finishes_.erase(entry);
  std::make_heap(finishes_.begin(), finishes_.end(), std::greater<>());
}

std::optional<SimHost::Ended> SimHost::on_step_end(Time now, Time horizon) {
  check(in_progress_, "a step ends once");
  for (;;) {
    record_step(now);
    collect_ended();
    if (!ended_.empty() || steps_ == max_steps_ || interrupted_) break;
    shape_.decode_context_sum += shape_.decodes;
    ++shape_.decode_context_max;
    step_start_ = now;
    const Time next = now + cost_.step(shape_);
    if (next >= horizon) {  // something may come before or at that time, and would have to be seen first
      queue_.push(next, EventPriority::kStepEnd, {SimEventKind::kStepEnd, replica_});
      return std::nullopt;
    }
    now = next;
  }
  report_span(now);
  in_progress_ = false;
  return Ended{now, {OpId(next_op_.value() - 1), steps_, ended_}};
}

void SimHost::record_step(Time end) {
  check(end > step_start_, "a step takes time");
  if (batch_size_ > 0) observer_.on_token_gap(end, end - last_step_end_, batch_size_);
  ++clock_;
  ++steps_;
  if (steps_ == 1) emit_prefill_tokens(end);
  last_step_end_ = end;
}

void SimHost::emit_prefill_tokens(Time end) {
  for (const PrefillWork& work : prefills_) {
    if (!work.last) continue;
    Request& request = at(work.request);
    if (request.produced == 0) {
      request.first_token = end;
    } else {
      observer_.on_token_gap(end, end - request.last_token, 1);
    }
    ++request.produced;
    join_batch(work.request);
  }
}

void SimHost::join_batch(RequestHandle handle) {
  Request& request = at(handle);
  request.decoding = true;
  request.finish_clock = clock_ + request.spec.output_tokens - request.produced;
  ++batch_size_;
  finishes_.push_back({request.finish_clock, joined_++, handle});
  std::push_heap(finishes_.begin(), finishes_.end(), std::greater<>());
}

void SimHost::collect_ended() {
  ended_.clear();
  while (!finishes_.empty() && finishes_.front().clock == clock_) {
    ended_.push_back(finishes_.front().request);
    std::pop_heap(finishes_.begin(), finishes_.end(), std::greater<>());
    finishes_.pop_back();
    --batch_size_;
  }
}

void SimHost::report_span(Time end) {
  busy_ += end - op_start_;
  ServingSpan span;
  span.replica = replica_;
  span.start = op_start_;
  span.end = end;
  span.steps = steps_;
  for (const PrefillChunk& chunk : chunks_) span.prefill_tokens += chunk.tokens;
  span.decodes = shape_.decodes;
  span.running = running_;
  span.waiting = waiting_;
  observer_.on_serving_span(span);
}

RequestOutcome SimHost::take_outcome(RequestHandle handle, Time now) {
  const Request& request = at(handle);
  RequestOutcome outcome;
  outcome.id = request.id;
  outcome.session = request.spec.session;
  outcome.turn = request.spec.turn;
  outcome.replica = replica_;
  outcome.arrived = request.spec.arrival;
  outcome.scheduled = request.scheduled_at;
  outcome.first_token = request.first_token;
  outcome.finished = now;
  outcome.prompt_tokens = request.spec.prompt_tokens;
  outcome.output_tokens = request.spec.output_tokens;
  outcome.prefix_hit_tokens = request.prefix_hit_tokens;
  outcome.preemptions = request.preemptions;
  free_handles_.push_back(handle);
  --live_;
  return outcome;
}

}  // namespace alchemist

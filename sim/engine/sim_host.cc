#include "sim/engine/sim_host.h"

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/base/longest_run.h"

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
  check(!has_queued_ && (!in_progress_ || in_last_step_), "at most one operation waits, behind one in its last step");
  has_queued_ = true;
  queued_.id = next_op_;
  next_op_ = OpId(next_op_.value() + 1);
  queued_.prefills.assign(op.prefills.begin(), op.prefills.end());
  queued_.preempted.assign(op.preempted.begin(), op.preempted.end());
  queued_.max_steps = options_.single_steps ? 1 : op.max_steps;
  queued_.running = op.running;
  queued_.waiting = op.waiting;
  for (const PrefillWork& work : queued_.prefills) {
    Request& request = at(work.request);
    if (request.scheduled) continue;
    request.scheduled = true;
    request.scheduled_at = now_;
    request.prefix_hit_tokens = work.chunk.context;
  }
  return queued_.id;
}

void SimHost::wake_at(Time when) { queue_.push(when, EventPriority::kWake, {SimEventKind::kWake, replica_}); }

std::optional<Completion> SimHost::after_node() {
  if (!in_progress_ && has_queued_) {
    start();
    if (!in_progress_) return completion(true);
  }
  if (!announce_at_start_) return std::nullopt;
  announce_at_start_ = false;
  news_ = false;
  return completion(false);
}

void SimHost::start() {
  std::swap(current_, queued_);
  has_queued_ = false;
  steps_ = 0;
  ended_.clear();
  for (const RequestHandle handle : current_.preempted) preempt(handle);
  if (current_.prefills.empty() && batch_.size() == 0) return;  // all its requests have ended meanwhile
  in_progress_ = true;
  op_start_ = now_;
  if (options_.announce_last_step) {
    in_last_step_ = announce_at_start_ = news_ || current_.max_steps == 1;
  } else {
    in_last_step_ = current_.max_steps == 1;
    news_ = false;  // the node planned at this very moment
  }
  chunks_.clear();
  for (const PrefillWork& work : current_.prefills) chunks_.push_back(work.chunk);
  begin_step(now_);
  queue_.push(step_end_, EventPriority::kStepEnd, {SimEventKind::kStepEnd, replica_});
}

void SimHost::preempt(RequestHandle handle) {
  Request& request = at(handle);
  if (!request.live) return;  // its last token came after this was planned
  ++request.preemptions;
  observer_.on_preemption(replica_, request.id, now_);
  if (!batch_.contains(handle)) return;  // it was still computing its prompt
  request.produced = request.spec.output_tokens - static_cast<std::int32_t>(batch_.leave(handle));
  request.last_token = last_step_end_;
  count_gap(request, gaps_.since(request.joined_step + 1));
}

void SimHost::begin_step(Time start) {
  const bool first = steps_ == 0;
  shape_.prefills = first ? std::span<const PrefillChunk>(chunks_) : std::span<const PrefillChunk>();
  shape_.decodes = batch_.size();
  shape_.decode_context_sum = batch_.context_sum();
  shape_.decode_context_max = static_cast<std::int32_t>(batch_.context_max());
  shape_.sampled = shape_.decodes;
  if (first) {
    for (const PrefillWork& work : current_.prefills) shape_.sampled += work.last ? 1 : 0;
  }
  step_start_ = start;
  const Duration takes = cost_.step(shape_);
  check(takes > Duration(), "a step takes time");
  if (takes > kLongestRun - start.since_start()) {
    throw ConfigError("the run takes more than 100 years of simulated time: expected faster hardware or fewer requests");
  }
  step_end_ = start + takes;
}

std::optional<SimHost::Report> SimHost::on_step_end(Time now, Time horizon) {
  check(in_progress_ && now == step_end_, "a step ends once");
  for (;;) {
    end_step(now);
    const bool something_waits = news_ || !ended_.empty();
    if (in_last_step_ || batch_.size() == 0 || (something_waits && !options_.announce_last_step)) return finish(now);
    begin_step(now);
    in_last_step_ = steps_ + 1 == current_.max_steps || something_waits;
    if (in_last_step_ && options_.announce_last_step) return announce(now);
    if (step_end_ >= horizon) {  // something may come before or at that time, and would have to be seen first
      queue_.push(step_end_, EventPriority::kStepEnd, {SimEventKind::kStepEnd, replica_});
      return std::nullopt;
    }
    now = step_end_;
  }
}

SimHost::Report SimHost::announce(Time now) {
  news_ = false;
  queue_.push(step_end_, EventPriority::kStepEnd, {SimEventKind::kStepEnd, replica_});
  return {now, completion(false)};
}

SimHost::Report SimHost::finish(Time now) {
  report_span(now);
  in_progress_ = false;
  if (!ended_.empty()) news_ = true;  // what follows was planned without this knowledge
  return {now, completion(true)};
}

void SimHost::end_step(Time end) {
  ++total_steps_;
  if (batch_.size() > 0) {
    observer_.on_token_gap(end, end - last_step_end_, batch_.size());
    gaps_.push(total_steps_, end - last_step_end_);
  } else {
    gaps_.forget_before(total_steps_);
  }
  batch_.advance();
  ++steps_;
  if (steps_ == 1) emit_prefill_tokens(end);
  last_step_end_ = end;
  batch_.take_ended(ended_);
}

void SimHost::emit_prefill_tokens(Time end) {
  for (const PrefillWork& work : current_.prefills) {
    if (!work.last) continue;
    Request& request = at(work.request);
    if (request.produced == 0) {
      request.first_token = end;
    } else {
      observer_.on_token_gap(end, end - request.last_token, 1);
      count_gap(request, end - request.last_token);
    }
    ++request.produced;
    request.joined_step = total_steps_;
    batch_.join(work.request, work.chunk.context + work.chunk.tokens, request.spec.output_tokens - request.produced);
  }
}

void SimHost::count_gap(Request& request, std::optional<Duration> gap) {
  if (gap && (!request.longest_gap || *gap > *request.longest_gap)) request.longest_gap = gap;
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
  span.running = current_.running;
  span.waiting = current_.waiting;
  observer_.on_serving_span(span);
}

std::optional<SimHost::Progress> SimHost::progress() const {
  if (!in_progress_) return std::nullopt;
  return Progress{current_.id, steps_ + 1};
}

RequestOutcome SimHost::take_outcome(RequestHandle handle, Time now) {
  Request& request = at(handle);
  count_gap(request, gaps_.since(request.joined_step + 1));
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
  outcome.longest_gap = request.longest_gap;
  request.live = false;
  free_handles_.push_back(handle);
  --live_;
  return outcome;
}

}  // namespace alchemist

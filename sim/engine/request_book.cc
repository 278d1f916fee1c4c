#include "sim/engine/request_book.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {

Arrival RequestBook::accept(RequestId id, const WorkloadRequest& spec) {
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
  newcomers_.push_back(handle);
  ++live_;
  return {handle, id, spec.session, spec.prompt_tokens, spec.content};
}

void RequestBook::take_in(Time now) {
  for (const RequestHandle handle : newcomers_) at(handle).queued = now;
  newcomers_.clear();
}

void RequestBook::submitted(const ServingOp& op, Time now) {
  for (const AnswerPart& answer : op.answers) count_answer(answer);
  for (const PrefillWork& work : op.prefills) {
    Request& request = at(work.request);
    if (request.scheduled) continue;
    request.scheduled = true;
    request.scheduled_at = now;
    request.prefix_hit_tokens = work.chunk.context;
    request.stale_prefix_tokens = work.stale_context;
  }
}

Bytes RequestBook::begin(std::span<const PrefillWork> prefills, std::span<const RequestHandle> preempted, Time now) {
  ended_.clear();
  for (const RequestHandle handle : preempted) preempt(handle, now);
  Bytes recorded;
  for (const PrefillWork& work : prefills) {
    if (work.recorded == Bytes()) continue;
    recorded += work.recorded;
    at(work.request).recorded_tokens += work.recorded_tokens;
    at(work.request).recorded_bytes += work.recorded;
  }
  return recorded;
}

void RequestBook::count_answer(const AnswerPart& answer) {
  Request& request = at(answer.request);
  // A run that gave its memory back before its end is followed by one that begins within it.
  const std::int32_t again =
      std::clamp(request.latest_answer_end - answer.first_token, 0, request.latest_answer_tokens);
  request.recorded_tokens += answer.tokens - again;
  request.recorded_bytes += answer.bytes;
  request.latest_answer_tokens = answer.tokens;
  request.latest_answer_end = answer.first_token + answer.tokens;
}

// Of an answer that ended within the run that had memory, and whose last token was never an input.
std::int64_t RequestBook::recorded_tokens(const Request& request) {
  const std::int32_t computed = request.spec.prompt_tokens + request.spec.output_tokens - 1;
  const std::int32_t unused = std::clamp(request.latest_answer_end - computed, 0, request.latest_answer_tokens);
  return request.recorded_tokens - unused;
}

void RequestBook::preempt(RequestHandle handle, Time now) {
  Request& request = at(handle);
  ++request.preemptions;
  observer_.on_preemption(replica_, request.id, now);
  if (!batch_.contains(handle)) return;  // it was still computing its prompt
  request.produced = request.spec.output_tokens - static_cast<std::int32_t>(batch_.leave(handle));
  request.last_token = last_step_end_;
  count_gap(request, gaps_.since(request.joined_step + 1));
}

void RequestBook::end_step(Time end, std::span<const PrefillWork> prefills) {
  ++total_steps_;
  if (batch_.size() > 0) {
    observer_.on_token_gap(end, end - last_step_end_, batch_.size());
    gaps_.push(total_steps_, end - last_step_end_);
  } else {
    gaps_.forget_before(total_steps_);
  }
  batch_.advance();
  emit_prefill_tokens(prefills, end);
  last_step_end_ = end;
  batch_.take_ended(ended_);
}

void RequestBook::emit_prefill_tokens(std::span<const PrefillWork> prefills, Time end) {
  for (const PrefillWork& work : prefills) {
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

void RequestBook::count_gap(Request& request, std::optional<Duration> gap) {
  if (gap && (!request.longest_gap || *gap > *request.longest_gap)) request.longest_gap = gap;
}

RequestOutcome RequestBook::take_outcome(RequestHandle handle, Time now) {
  Request& request = at(handle);
  count_gap(request, gaps_.since(request.joined_step + 1));
  RequestOutcome outcome;
  outcome.id = request.id;
  outcome.session = request.spec.session;
  outcome.turn = request.spec.turn;
  outcome.replica = replica_;
  outcome.arrived = request.spec.arrival;
  outcome.queued = request.queued;
  outcome.scheduled = request.scheduled_at;
  outcome.first_token = request.first_token;
  outcome.finished = now;
  outcome.prompt_tokens = request.spec.prompt_tokens;
  outcome.output_tokens = request.spec.output_tokens;
  outcome.prefix_hit_tokens = request.prefix_hit_tokens;
  outcome.stale_prefix_tokens = request.stale_prefix_tokens;
  outcome.preemptions = request.preemptions;
  outcome.longest_gap = request.longest_gap;
  outcome.recorded_tokens = recorded_tokens(request);
  outcome.recorded_bytes = request.recorded_bytes;
  free_handles_.push_back(handle);
  --live_;
  return outcome;
}

}  // namespace alchemist

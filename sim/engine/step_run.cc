#include "sim/engine/step_run.h"

#include <utility>

#include "sim/base/check.h"

namespace alchemist {

void StepRun::queue(OpId id, const ServingOp& op, Time now) {
  check(!has_queued_ && (!in_progress_ || in_last_step_), "at most one operation waits, behind one in its last step");
  has_queued_ = true;
  queued_.id = id;
  queued_.prefills.assign(op.prefills.begin(), op.prefills.end());
  for (PrefillWork& work : queued_.prefills) {
    work.blocks = {};
    work.record.reset();
  }
  queued_.preempted.assign(op.preempted.begin(), op.preempted.end());
  queued_.max_steps = options_.single_steps ? 1 : op.max_steps;
  queued_.recorded_per_step = op.recorded_per_step;
  queued_.running = op.running;
  queued_.waiting = op.waiting;
  book_.submitted(op, now);
}

bool StepRun::begin(Time now) {
  std::swap(current_, queued_);
  has_queued_ = false;
  steps_ = 0;
  recording_ = Duration();
  start_ = now;
  recorded_ = book_.begin(current_.prefills, current_.preempted, now);
  decodes_ = book_.batch().size();
  if (current_.prefills.empty() && decodes_ == 0) return false;
  in_progress_ = true;
  if (options_.announce_last_step) {
    in_last_step_ = announces_ = news_ || current_.max_steps == 1;
  } else {
    in_last_step_ = current_.max_steps == 1;
    news_ = false;  // the node planned at this very moment
  }
  return true;
}

// An operation that had nothing left to run took no time.
Completion StepRun::completion(Time now, bool done) const {
  return {current_.id, done, steps_, steps_ > 0 ? now - start_ : Duration(), book_.ended()};
}

void StepRun::finish(Time now) {
  report_span(now);
  in_progress_ = false;
  if (book_.ended().empty()) return;
  news_ = true;  // what follows was planned without this knowledge
  // Who was to give way in it does not, and others may have the handle before it begins.
  for (const RequestHandle handle : book_.ended()) std::erase(queued_.preempted, handle);
}

void StepRun::report_span(Time end) {
  busy_ += end - start_;
  ServingSpan span;
  span.replica = replica_;
  span.start = start_;
  span.end = end;
  span.steps = steps_;
  for (const PrefillWork& work : current_.prefills) span.prefill_tokens += work.chunk.tokens;
  span.decodes = decodes_;
  span.running = current_.running;
  span.waiting = current_.waiting;
  span.recording = recording_;
  observer_.on_serving_span(span);
}

std::optional<StepRun::Progress> StepRun::progress() const {
  if (!in_progress_) return std::nullopt;
  return Progress{current_.id, steps_ + 1};
}

}  // namespace alchemist

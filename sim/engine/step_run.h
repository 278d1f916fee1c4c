// The serving operation in progress, step after step, and the one that waits behind it: which of its steps is the last,
// when the node is told so, and what the completions say. Both worlds go through an operation in this way; what a step
// takes, and where it runs, is the host's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sim/base/observer.h"
#include "sim/engine/request_book.h"
#include "sim/node/host.h"

namespace alchemist {

class StepRun {
 public:
  struct Options {
    bool announce_last_step = false;  // asynchronous scheduling: the next operation is planned during the last step
    bool single_steps = false;        // operations of more steps end after their first
  };

  // Book and observer outlive the run.
  StepRun(ReplicaId replica, Options options, RequestBook& book, RunObserver& observer)
      : replica_(replica), options_(options), book_(book), observer_(observer) {}

  // The operation waits until the host begins it: at most one does, behind one in its last step.
  void queue(OpId id, const ServingOp& op, Time now);
  bool queued() const { return has_queued_; }

  // The operation that waits begins. False if all its requests have ended meanwhile: it is over without a step.
  bool begin(Time now);
  bool in_progress() const { return in_progress_; }

  // Of the operation in progress, or the last one. Its prompts are computed in its first step.
  std::span<const PrefillWork> prefills() const {
    return steps_ == 0 ? std::span<const PrefillWork>(current_.prefills) : std::span<const PrefillWork>();
  }
  // Activations that the step in progress keeps.
  Bytes recorded() const { return current_.recorded_per_step + (steps_ == 0 ? recorded_ : Bytes()); }
  // So much of the time of its steps went into that.
  void add_recording(Duration time) { recording_ += time; }

  // A step has ended. True if another follows; otherwise the operation is over and its completion is due.
  bool end_step(Time now) {
    book_.end_step(now, prefills());
    ++steps_;
    const bool something_waits = news_ || !book_.ended().empty();
    if (in_last_step_ || book_.batch().size() == 0 || (something_waits && !options_.announce_last_step)) {
      finish(now);
      return false;
    }
    in_last_step_ = steps_ + 1 == current_.max_steps || something_waits;
    announces_ = in_last_step_ && options_.announce_last_step;
    return true;
  }
  // What the node has to be told of a step that has just begun, once: that it is the operation's last.
  std::optional<Completion> announce(Time now) {
    if (!announces_) return std::nullopt;
    announces_ = false;
    news_ = false;
    return completion(now, false);
  }
  // Its span is valid until the next step ends or the next operation begins.
  Completion completion(Time now, bool done) const;

  // Something happened that the node has not planned with: the operation ends as soon as it can.
  void interrupt() { news_ = true; }
  // The step in progress could not be run.
  void abandon() { in_progress_ = false; }

  // The operation in progress and how many of its steps have begun; none if there is none.
  struct Progress {
    OpId op;
    std::int64_t steps_begun;
  };
  std::optional<Progress> progress() const;
  // Time of all operations that are over.
  Duration busy() const { return busy_; }

 private:
  struct Operation {
    OpId id;
    std::vector<PrefillWork> prefills;  // without their spans, which are the caller's
    std::vector<RequestHandle> preempted;
    std::int64_t max_steps = 1;
    Bytes recorded_per_step;
    std::int32_t running = 0;
    std::int32_t waiting = 0;
  };

  void finish(Time now);
  void report_span(Time end);

  ReplicaId replica_;
  Options options_;
  RequestBook& book_;
  RunObserver& observer_;

  Operation queued_;
  Operation current_;
  bool has_queued_ = false;
  bool in_progress_ = false;
  bool in_last_step_ = false;  // as far as it is known
  bool announces_ = false;     // and the node is still to be told so
  bool news_ = false;          // something happened that the node has not planned with
  Time start_;
  std::int64_t steps_ = 0;    // of the operation, ended
  std::int32_t decodes_ = 0;  // in its first step
  Bytes recorded_;            // of its prompts
  Duration recording_;
  Duration busy_;
};

}  // namespace alchemist

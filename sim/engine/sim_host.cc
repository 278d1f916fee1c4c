#include "sim/engine/sim_host.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/base/longest_run.h"

namespace alchemist {

SimHost::SimHost(ReplicaId replica, const StepCost& cost, SimEventQueue& queue, RunObserver& observer, Options options,
                 std::optional<TrainingHost> training)
    : replica_(replica),
      cost_(cost),
      queue_(queue),
      observer_(observer),
      options_(std::move(options)),
      book_(replica, observer),
      training_(training),
      turns_(options_.cold_start, training ? training->link.copy_slowdown : 1) {
  if (training_) link_.emplace(training_->link);
}

OpId SimHost::submit(const ServingOp& op) {
  check(!has_queued_ && (!in_progress_ || in_last_step_), "at most one operation waits, behind one in its last step");
  has_queued_ = true;
  queued_.id = new_op();
  queued_.ready = op.planned + cost_.host_time();
  queued_.prefills.assign(op.prefills.begin(), op.prefills.end());
  queued_.preempted.assign(op.preempted.begin(), op.preempted.end());
  queued_.max_steps = options_.single_steps ? 1 : op.max_steps;
  queued_.running = op.running;
  queued_.waiting = op.waiting;
  queued_.recorded_per_step = op.recorded_per_step;
  book_.submitted(op, now_);
  return queued_.id;
}

void SimHost::wake_at(Time when) { queue_.push(when, EventPriority::kWake, {SimEventKind::kWake, replica_}); }

OpId SimHost::submit(const TrainingPiece& piece) {
  if (piece.beside) return start_beside(piece);
  check(training_ && !queued_piece_ && !piece_ && !has_queued_,
        "one piece at a time, before what is planned behind it");
  queued_piece_ = Piece{new_op(), piece, Time()};
  return queued_piece_->id;
}

OpId SimHost::submit(const CopyOp& copy) {
  check(link_.has_value(), "only a host that trains copies");
  link_->advance(now_, finished_transfers_);  // what ends now is told by the event that is on its way
  const OpId id = new_op();
  copies_.emplace(link_->start(now_, copy.direction, copy.bytes, training_->link.host_memory), id);
  schedule_link();
  return id;
}

// The world knows who else takes part.
OpId SimHost::all_reduce() {
  check(training_ && !all_reduce_, "one training step at a time");
  queue_.push(now_, EventPriority::kCopyEnd, {SimEventKind::kAllReduce, replica_});
  all_reduce_ = new_op();
  return *all_reduce_;
}

Completion SimHost::on_all_reduced() {
  check(all_reduce_.has_value(), "an all-reduce ends once");
  return {*std::exchange(all_reduce_, std::nullopt), true, 1, Duration(), {}};
}

void SimHost::schedule_link() {
  const Time next = finished_transfers_.empty() ? link_->next_event() : now_;
  if (next == Time::max()) return;
  queue_.push(next, EventPriority::kCopyEnd, {SimEventKind::kLink, replica_, ++link_version_});
}

std::vector<Completion> SimHost::on_link(Time now, std::uint32_t version) {
  std::vector<Completion> completions;
  if (version != link_version_) return completions;
  link_->advance(now, finished_transfers_);
  for (const FinishedTransfer& transfer : finished_transfers_) {
    const auto copy = copies_.find(transfer.id);
    completions.push_back({copy->second, true, 1, transfer.end - transfer.start, {}});
    copies_.erase(copy);
    observer_.on_transfer({replica_, transfer.direction, transfer.start, transfer.end, transfer.bytes});
  }
  finished_transfers_.clear();
  schedule_link();
  return completions;
}

// A training loop launches its pieces back to back and needs no scheduler: no host time comes before them.
void SimHost::start_piece() {
  piece_ = std::exchange(queued_piece_, std::nullopt);
  piece_->start = now_;
  const TrainingPiece& piece = piece_->piece;
  const Duration priced = turns_.piece(piece.kind, piece.tokens, training_->cost->piece(piece), copies_left(now_));
  const Duration takes = options_.factors.charged(kind_of(piece.kind), piece_->start, priced);
  queue_.push(piece_->start + takes, EventPriority::kStepEnd, {SimEventKind::kPieceEnd, replica_});
}

// Serving that runs meanwhile has the other SMs and what memory bandwidth the piece leaves. All of serving's time is
// taken for memory traffic, which it is in decode; prefill is charged too much. What serving takes from the piece is
// not charged: products of many tokens ask for little bandwidth.
OpId SimHost::start_beside(const TrainingPiece& piece) {
  check(training_ && training_->beside && !beside_ && !piece_, "one piece at a time, on SMs that it has");
  constexpr double kMostTraffic = 0.9;  // serving goes on beside an optimizer step, which is nothing but traffic
  const BesideCosts& costs = *training_->beside;
  const Duration takes = costs.training->piece(piece);
  const double share = costs.training->traffic(piece) / (takes.in_seconds() * costs.bandwidth);
  slowdown_ = 1 / (1 - std::min(kMostTraffic, share));
  beside_ = Piece{new_op(), piece, now_};
  const Duration charged =
      options_.factors.charged(kind_of(piece.kind), now_, turns_.beside_copies(takes, copies_left(now_)));
  queue_.push(now_ + charged, EventPriority::kStepEnd, {SimEventKind::kPieceEnd, replica_});
  return beside_->id;
}

Completion SimHost::on_piece_end(Time now) {
  std::optional<Piece>& ended = beside_ ? beside_ : piece_;
  check(ended.has_value(), "a piece ends once");
  if (!beside_) device_free_ = now;
  observer_.on_training_span({replica_, phase_of(ended->piece.kind), ended->start, now});
  const Completion completion{ended->id, true, 1, now - ended->start, {}};
  ended.reset();
  return completion;
}

// A step is priced by what runs beside it when it begins.
Duration SimHost::step_time() const {
  if (!beside_) return cost_.step(shape_);
  return Duration::seconds(training_->beside->serving->step(shape_).in_seconds() * slowdown_);
}

void SimHost::report(const TrainingStep& step, std::span<const TrainedSample> samples) {
  step_ = step;
  for (const TrainedSample& sample : samples) trained_.push_back({sample, step.end});
}

// Copies are slower while kernels run. Said once everything that starts at this moment has started.
void SimHost::tell_link() {
  if (!link_ || training_->link.slowdown == 1) return;
  const bool running = in_progress_ || piece_ || beside_;
  if (running == kernels_running_) return;
  kernels_running_ = running;
  link_->set_kernels_running(now_, running);
  schedule_link();
}

std::optional<Completion> SimHost::after_node() {
  if (!in_progress_ && !piece_ && queued_piece_) start_piece();
  if (!in_progress_ && !piece_ && has_queued_ && !wait_for_host()) {
    start();
    if (!in_progress_) return completion(now_, true);
  }
  if (!announce_at_start_) {
    tell_link();
    return std::nullopt;
  }
  announce_at_start_ = false;
  news_ = false;
  return completion(now_, false);
}

// What ran since the step was planned has hidden the host's work on it, or a part of it; an idle GPU waits for the
// rest.
bool SimHost::wait_for_host() {
  if (now_ >= queued_.ready) return false;
  if (!std::exchange(waits_for_host_, true))
    queue_.push(queued_.ready, EventPriority::kStepEnd, {SimEventKind::kStepStart, replica_});
  return true;
}

void SimHost::start() {
  std::swap(current_, queued_);
  has_queued_ = false;
  steps_ = 0;
  recording_ = Duration();
  recorded_ = book_.begin(current_.prefills, current_.preempted, now_);
  if (current_.prefills.empty() && book_.batch().size() == 0) return;  // all its requests have ended meanwhile
  in_progress_ = true;
  op_start_ = now_;
  if (options_.announce_last_step) {
    in_last_step_ = announce_at_start_ = news_ || current_.max_steps == 1;
  } else {
    in_last_step_ = current_.max_steps == 1;
    news_ = false;  // the node planned at this very moment
  }
  begin_step(now_);
  queue_.push(step_end_, EventPriority::kStepEnd, {SimEventKind::kStepEnd, replica_});
}

void SimHost::begin_step(Time start) {
  const bool first = steps_ == 0;
  shape_ = book_.next_step(first ? std::span<const PrefillWork>(current_.prefills) : std::span<const PrefillWork>(),
                           chunks_);
  if (first) decodes_ = shape_.decodes;
  step_start_ = start;
  Duration takes = step_time();
  const Bytes recorded = current_.recorded_per_step + (first ? recorded_ : Bytes());
  if (recorded > Bytes()) {
    const Duration recording = training_->cost->recording(recorded);
    recording_ += recording;
    takes += recording;
  }
  const std::int64_t prompt_tokens = shape_.prefill_tokens();
  takes = turns_.step(prompt_tokens, start - device_free_, takes, copies_left(start));
  takes = options_.factors.charged(step_kind(prompt_tokens), start, takes);
  check(takes > Duration(), "a step takes time");
  if (takes > kLongestRun - start.since_start()) {
    throw ConfigError(
        "the run takes more than 100 years of simulated time: expected faster hardware or fewer requests");
  }
  step_end_ = device_free_ = start + takes;
}

std::optional<SimHost::Report> SimHost::on_step_end(Time now, Time horizon) {
  check(in_progress_ && now == step_end_, "a step ends once");
  for (;;) {
    const bool first = steps_++ == 0;
    book_.end_step(now, first ? std::span<const PrefillWork>(current_.prefills) : std::span<const PrefillWork>());
    const bool something_waits = news_ || !book_.ended().empty();
    if (in_last_step_ || book_.batch().size() == 0 || (something_waits && !options_.announce_last_step))
      return finish(now);
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

// An operation that had nothing left to run took no time.
Completion SimHost::completion(Time now, bool done) const {
  return {current_.id, done, steps_, steps_ > 0 ? now - op_start_ : Duration(), book_.ended()};
}

SimHost::Report SimHost::announce(Time now) {
  news_ = false;
  queue_.push(step_end_, EventPriority::kStepEnd, {SimEventKind::kStepEnd, replica_});
  return {now, completion(now, false)};
}

SimHost::Report SimHost::finish(Time now) {
  report_span(now);
  in_progress_ = false;
  if (!book_.ended().empty()) news_ = true;  // what follows was planned without this knowledge
  return {now, completion(now, true)};
}

void SimHost::report_span(Time end) {
  busy_ += end - op_start_;
  ServingSpan span;
  span.replica = replica_;
  span.start = op_start_;
  span.end = end;
  span.steps = steps_;
  for (const PrefillWork& work : current_.prefills) span.prefill_tokens += work.chunk.tokens;
  span.decodes = decodes_;
  span.running = current_.running;
  span.waiting = current_.waiting;
  span.recording = recording_;
  observer_.on_serving_span(span);
}

std::optional<SimHost::Progress> SimHost::progress() const {
  if (!in_progress_) return std::nullopt;
  return Progress{current_.id, steps_ + 1};
}

}  // namespace alchemist

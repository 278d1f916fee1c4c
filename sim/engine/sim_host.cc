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
      steps_(replica, options_.steps, book_, observer),
      training_(training),
      turns_(options_.cold_start, training ? training->link.copy_slowdown : 1) {
  if (training_) link_.emplace(training_->link);
}

OpId SimHost::submit(const ServingOp& op) {
  const OpId id = new_op();
  steps_.queue(id, op, now_);
  ready_ = op.planned + cost_.host_time();
  return id;
}

void SimHost::wake_at(Time when) { queue_.push(when, EventPriority::kWake, {SimEventKind::kWake, replica_}); }

OpId SimHost::submit(const TrainingPiece& piece) {
  if (piece.beside) return start_beside(piece);
  check(training_ && !queued_piece_ && !piece_ && !steps_.queued(),
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
  const bool running = steps_.in_progress() || piece_ || beside_;
  if (running == kernels_running_) return;
  kernels_running_ = running;
  link_->set_kernels_running(now_, running);
  schedule_link();
}

std::optional<Completion> SimHost::after_node() {
  if (!steps_.in_progress() && !piece_ && queued_piece_) start_piece();
  if (!steps_.in_progress() && !piece_ && steps_.queued() && !wait_for_host()) {
    if (!steps_.begin(now_)) return steps_.completion(now_, true);
    begin_step(now_);
    push_step_end();
  }
  std::optional<Completion> last_step = steps_.announce(now_);
  if (!last_step) tell_link();
  return last_step;
}

// What ran since the step was planned has hidden the host's work on it, or a part of it; an idle GPU waits for the
// rest.
bool SimHost::wait_for_host() {
  if (now_ >= ready_) return false;
  if (!std::exchange(waits_for_host_, true))
    queue_.push(ready_, EventPriority::kStepEnd, {SimEventKind::kStepStart, replica_});
  return true;
}

void SimHost::begin_step(Time start) {
  shape_ = book_.next_step(steps_.prefills(), chunks_);
  Duration takes = step_time();
  const Bytes recorded = steps_.recorded();
  if (recorded > Bytes()) {
    const Duration recording = training_->cost->recording(recorded);
    steps_.add_recording(recording);
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
  check(steps_.in_progress() && now == step_end_, "a step ends once");
  for (;;) {
    if (!steps_.end_step(now)) return Report{now, steps_.completion(now, true)};
    begin_step(now);
    if (const std::optional<Completion> last_step = steps_.announce(now)) {
      push_step_end();
      return Report{now, *last_step};
    }
    if (step_end_ >= horizon) {  // something may come before or at that time, and would have to be seen first
      push_step_end();
      return std::nullopt;
    }
    now = step_end_;
  }
}

}  // namespace alchemist

#include "sim/node/node.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {

Node::Node(const ServingConfig& config, std::int32_t kv_blocks, Host& host, std::optional<NodeTraining> training)
    : scheduler_(config, kv_blocks, training ? this : nullptr),
      host_(host),
      async_(config.async_scheduling),
      token_budget_(config.max_num_batched_tokens),
      training_(std::move(training)) {
  if (!training_) return;
  store_ = std::make_unique<ActivationStore>(training_->store, scheduler_.pool(), training_->policy, host_);
  trainer_ = std::make_unique<Trainer>(training_->trainer, scheduler_.pool(), *store_, training_->policy,
                                       *training_->estimator, host_);
}

void Node::on_arrival(Time now, const Arrival& arrival) {
  now_ = now;
  scheduler_.enqueue(arrival);
  if (trainer_) {
    if (arrival.request.value() >= served_.size()) served_.resize(arrival.request.value() + 1);
    served_[arrival.request.value()] = Served{arrival, std::nullopt, false};
  }
  wake_soon();
}

void Node::on_feedback(Time now, const Feedback& feedback) {
  check(trainer_ != nullptr, "feedback goes to a node that trains");
  now_ = now;
  trainer_->on_feedback(now, feedback);
  if (trains_beside()) submit_beside();
  wake_soon();
}

// An idle engine starts once everything that happens at the same moment is known to it.
void Node::wake_soon() {
  if (!outstanding_.empty() || wake_asked_) return;
  wake_asked_ = true;
  host_.wake_at(now_);
}

void Node::on_completion(Time now, const Completion& completion) {
  now_ = now;
  if (piece_ && completion.op == piece_->first) {
    const TrainingPiece piece = piece_->second;
    piece_.reset();
    trainer_->on_piece_done(now, piece, completion.ran);
  } else if (const auto op = std::ranges::find(outstanding_, completion.op, &Outstanding::op);
             op != outstanding_.end()) {
    on_serving(op, completion);
  } else {
    // Memory or activations that somebody waits for.
    check(
        trainer_ && (store_->on_copy_done(now, completion.op, completion.ran) || trainer_->on_copy_done(completion.op)),
        "a completion answers an operation");
  }
  if (trains_beside()) submit_beside();
  if (outstanding_.empty() || (outstanding_.size() == 1 && newest_in_last_step_)) submit_next();
}

void Node::on_serving(std::vector<Outstanding>::iterator op, const Completion& completion) {
  if (completion.op == outstanding_.back().op) {
    on_newest(completion);
  } else {
    check(completion.done, "nothing is planned behind an operation before its last step");
    scheduler_.end(completion.ended);
  }
  if (completion.done) {
    if (trainer_ && completion.steps > 0) note_step(*op, completion);
    outstanding_.erase(op);
    std::erase_if(completing_, [&](const std::pair<OpId, RecordId>& entry) {
      if (entry.first != completion.op) return false;
      store_->complete(now_, entry.second);
      return true;
    });
  }
  forget(completion.ended);
}

// A piece that runs next is followed by a decode step, whatever came before it.
void Node::note_step(const Outstanding& op, const Completion& completion) {
  const Duration step = Duration::nanoseconds(completion.ran.count_ns() / completion.steps);
  tail_.add(step, completion.steps);
  if (op.computes_prompt) return;
  decode_step_ = step;
  const Duration share = Duration::seconds(training_->policy.stretch * completion.ran.in_seconds());
  saved_ = std::min(saved_ + share, tail_.value());
}

void Node::forget(std::span<const RequestHandle> ended) {
  if (!trainer_) return;
  for (const RequestHandle handle : ended) served_[handle.value()] = Served();
}

void Node::on_newest(const Completion& completion) {
  const bool next_planned = next_step_is_planned();
  scheduler_.catch_up(completion.steps + (next_planned ? 1 : 0));
  if (completion.done && !next_planned) scheduler_.commit();
  scheduler_.end(completion.ended);
  if (completion.done && next_planned) scheduler_.drop_planned();
  newest_in_last_step_ = !completion.done;
}

void Node::on_wake(Time now) {
  now_ = now;
  wake_asked_ = false;
  if (outstanding_.empty()) submit_next();
}

void Node::catch_up(OpId op, std::int64_t steps) {
  if (outstanding_.empty() || op != outstanding_.back().op) return;
  scheduler_.catch_up(steps + (next_step_is_planned() ? 1 : 0));
}

// With asynchronous scheduling the step of a run that follows the one in progress is planned already, except behind the
// run's last step.
bool Node::next_step_is_planned() const { return async_ && !newest_in_last_step_; }

void Node::submit_next() {
  const PieceOutcome training = trainer_ && !trains_beside() ? submit_piece() : PieceOutcome::kNothingToDo;
  if (training != PieceOutcome::kMoreMayFollow) submit_serving(training != PieceOutcome::kNothingToDo);
  if (!trainer_) return;
  const bool idle_for_copies = outstanding_.empty() && !piece_ && trainer_->waits_for_copy();
  if (idle_for_copies && !stalled_since_) stalled_since_ = now_;
  if (!idle_for_copies && stalled_since_) {
    trainer_->count_stall(now_ - *stalled_since_);
    stalled_since_.reset();
  }
}

bool Node::prompt_waits() const { return scheduler_.waiting() > 0 || scheduler_.computes_prompt(); }

TrainPieceView Node::view_for_training() const {
  TrainPieceView view;
  view.serving_idle = scheduler_.running() == 0 && scheduler_.waiting() == 0;
  view.prompt_waits = prompt_waits();
  view.decode_step = decode_step_;
  view.tail_step = tail_.value();
  view.saved = saved_;
  view.max_itl = training_->trainer.training.max_itl;
  view.gap_used = gap_used_;
  view.running = scheduler_.running();
  view.token_budget = token_budget_;
  return view;
}

// On SMs of its own training goes on while serving does, a whole layer at a time.
void Node::submit_beside() {
  if (piece_ || training_->policy.train->allow(view_for_training()).time <= Duration()) return;
  std::optional<TrainingPiece> piece = trainer_->next_piece(now_);
  if (!piece) return;
  piece->beside = true;
  piece_.emplace(host_.submit(*piece), *piece);
  trainer_->on_piece_submitted();
}

// Lets the next piece of training run before the next serving step, if the policy agrees.
Node::PieceOutcome Node::submit_piece() {
  if (piece_) return another_fits_ && !prompt_waits() ? PieceOutcome::kMoreMayFollow : PieceOutcome::kServingMayFollow;
  const std::optional<TrainingPiece> piece = trainer_->next_piece(now_);
  if (!piece) return PieceOutcome::kNothingToDo;
  const TrainPieceView view = view_for_training();
  const TrainAllowance allowance = training_->policy.train->allow(view);
  const auto part = trainer_->part_within(*piece, allowance);
  if (!part) return PieceOutcome::kServingMayFollow;
  piece_.emplace(host_.submit(part->piece), part->piece);
  trainer_->on_piece_submitted();
  gap_used_ += part->expected;
  if (!view.serving_idle) saved_ -= std::min(saved_, part->expected);
  // If another piece fits into the gap, serving is planned when this one is done; if not, now, so that its step is
  // queued behind the piece and starts without delay.
  const Duration worth_it = Duration::nanoseconds(allowance.time.count_ns() / 8);
  another_fits_ = !view.serving_idle && allowance.time - part->expected > worth_it;
  return another_fits_ ? PieceOutcome::kMoreMayFollow : PieceOutcome::kServingMayFollow;
}

void Node::submit_serving(bool training_waits) {
  std::optional<ServingOp> op = scheduler_.plan();
  if (!op) return;
  gap_used_ = Duration();
  if (training_waits) op->max_steps = std::min(op->max_steps, piece_ ? 1 : kStepsBetweenDecisions);
  if (trainer_) record(*op);
  outstanding_.push_back({host_.submit(*op), !op->prefills.empty()});
  newest_in_last_step_ = false;
  for (const PrefillWork& work : prefills_) {
    if (!work.last) continue;
    if (const auto id = served_[work.request.value()].record) completing_.emplace_back(outstanding_.back().op, *id);
  }
}

// Decides for each prompt that begins what is recorded of it, and takes the memory for what this step computes. The
// step's own KV blocks are taken already: KV comes first.
void Node::record(ServingOp& op) {
  prefills_.assign(op.prefills.begin(), op.prefills.end());
  for (const RequestHandle handle : op.preempted) {
    Served& served = served_[handle.value()];
    if (served.record) store_->abandon(now_, *served.record);
    served.record.reset();
    served.record_decided = false;
  }
  for (PrefillWork& work : prefills_) {
    Served& served = served_[work.request.value()];
    if (!served.record_decided) {
      served.record_decided = true;
      served.record = store_->begin(now_, served.arrival, work.chunk.context, work.target, trainer_->version());
    }
    if (!served.record) continue;
    work.recorded = store_->extend(now_, *served.record, work.chunk.tokens);
    if (work.recorded == Bytes()) {
      served.record.reset();
    } else {
      work.record = store_->part(*served.record, work.chunk.tokens);
    }
  }
  op.prefills = prefills_;
}

void Node::reclaim(std::int32_t blocks, bool urgent) { store_->reclaim(now_, blocks, urgent); }

}  // namespace alchemist

#include "sim/node/node.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {

namespace {

// Answers that are recorded take memory where their keys and values do, between two runs of decode steps.
// And beside decode steps training may take it at any time.
ServingConfig scheduled(ServingConfig config, const std::optional<NodeTraining>& training) {
  const auto takes_memory_in_runs = [](const Policy& policy) {
    return policy.record_answers || (policy.train && policy.train->beside_serving());
  };
  config.blocks_known_ahead = config.blocks_known_ahead || (training && takes_memory_in_runs(training->policy));
  return config;
}

}  // namespace

Node::Node(const ServingConfig& config, std::int32_t kv_blocks, Host& host, std::optional<NodeTraining> training)
    : scheduler_(scheduled(config, training), kv_blocks, training ? this : nullptr),
      host_(host),
      async_(config.async_scheduling),
      token_budget_(config.max_num_batched_tokens),
      answer_run_(kAnswerBlocks * config.block_size),
      training_(std::move(training)) {
  if (!training_) return;
  store_ = std::make_unique<ActivationStore>(training_->store, scheduler_.pool(), training_->policy, host_);
  trainer_ = std::make_unique<Trainer>(training_->trainer, scheduler_.pool(), *store_, training_->policy,
                                       *training_->estimator, host_);
}

void Node::on_arrival(Time now, const Arrival& arrival) {
  now_ = now;
  steps_to_decision_ = 0;
  scheduler_.enqueue(arrival);
  if (trainer_) {
    if (arrival.request.value() >= served_.size()) served_.resize(arrival.request.value() + 1);
    served_[arrival.request.value()] = Served();
    served_[arrival.request.value()].arrival = arrival;
  }
  wake_soon();
}

void Node::on_feedback(Time now, const Feedback& feedback) {
  check(trainer_ != nullptr, "feedback goes to a node that trains");
  trainer_->on_feedback(now, feedback);
  on_training_news(now);
}

void Node::on_all_reduce(Time now) {
  check(trainer_ != nullptr, "only replicas that train wait for each other");
  trainer_->on_awaited();
  on_training_news(now);
}

std::int64_t Node::on_hand_over(Time now) {
  check(trainer_ != nullptr, "only replicas that train wait for each other");
  now_ = now;
  return trainer_->hand_over();
}

void Node::on_take_over(Time now, std::int64_t tokens) {
  check(trainer_ != nullptr, "only replicas that train wait for each other");
  trainer_->take_over(now, tokens);
  on_training_news(now);
}

// There may be more to train than there was.
void Node::on_training_news(Time now) {
  now_ = now;
  steps_to_decision_ = 0;
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
    on_piece(completion);
  } else if (const auto op = std::ranges::find(outstanding_, completion.op, &Outstanding::op);
             op != outstanding_.end()) {
    on_serving(op, completion);
  } else {
    // Memory, activations or gradients that somebody waits for.
    steps_to_decision_ = 0;
    check(trainer_ && (store_->on_copy_done(now, completion.op) || trainer_->on_copy_done(now, completion.op) ||
                       trainer_->on_all_reduced(now, completion.op)),
          "a completion answers an operation");
  }
  if (trains_beside()) submit_beside();
  if (outstanding_.empty() || (outstanding_.size() == 1 && newest_in_last_step_)) submit_next();
}

void Node::on_piece(const Completion& completion) {
  const TrainingPiece piece = piece_->second;
  const WeightVersion before = trainer_->version();
  piece_.reset();
  trainer_->on_piece_done(now_, piece, completion.ran);
  if (trainer_->version() != before) scheduler_.on_new_weights();
}

void Node::on_serving(std::vector<Outstanding>::iterator op, const Completion& completion) {
  if (completion.op == outstanding_.back().op) {
    on_newest(completion);
  } else {
    check(completion.done, "nothing is planned behind an operation before its last step");
    end(completion.ended);
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
  const bool committed = !scheduler_.has_plan();  // planning went on behind it, but found nothing that could run
  if (!committed) scheduler_.catch_up(completion.steps + (next_planned ? 1 : 0));
  if (!committed && completion.done && !next_planned) scheduler_.commit();
  end(completion.ended);
  if (completion.done && next_planned) scheduler_.drop_planned();
  newest_in_last_step_ = !completion.done;
}

void Node::on_wake(Time now) {
  now_ = now;
  wake_asked_ = false;
  if (outstanding_.empty()) submit_next();
}

void Node::on_new_weights(Time now) {
  check(trainer_ == nullptr, "a node that trains makes its weights itself");
  now_ = now;
  scheduler_.on_new_weights();
}

void Node::catch_up(OpId op, std::int64_t steps) {
  if (outstanding_.empty() || op != outstanding_.back().op || !scheduler_.has_plan()) return;
  scheduler_.catch_up(steps + (next_step_is_planned() ? 1 : 0));
}

// With asynchronous scheduling the step of a run that follows the one in progress is planned already, except behind the
// run's last step.
bool Node::next_step_is_planned() const { return async_ && !newest_in_last_step_; }

void Node::submit_next() {
  const PieceOutcome training = trainer_ && !trains_beside() ? decide_on_piece() : PieceOutcome::kNothingToDo;
  if (training != PieceOutcome::kMoreMayFollow) {
    submit_serving(training != PieceOutcome::kNothingToDo);
  } else if (prepares_ahead_ && outstanding_.empty() && !prepared_) {
    prepare_serving();
  }
  if (!trainer_) return;
  const bool idle_for_copies = outstanding_.empty() && !piece_ && trainer_->waits_for_copy();
  if (idle_for_copies && !stalled_since_) stalled_since_ = now_;
  if (!idle_for_copies && stalled_since_) {
    trainer_->count_stall(now_ - *stalled_since_);
    stalled_since_.reset();
  }
}

bool Node::serving_idle() const { return scheduler_.running() == 0 && scheduler_.waiting() == 0; }

bool Node::prompt_waits() const { return scheduler_.waiting() > 0 || scheduler_.computes_prompt(); }

// Serving that waits for memory which training is about to give back is as idle as without requests: if training stood
// back for it, both would wait for ever.
TrainPieceView Node::view_for_training() const {
  const bool stuck = trainer_->gives_way() || (serving_is_stuck_ && trainer_->gpu_bytes() > Bytes());
  TrainPieceView view;
  view.serving_idle = serving_idle() || stuck;
  view.prompt_waits = prompt_waits() && !stuck;
  view.decode_step = decode_step_;
  view.tail_step = tail_.value();
  view.saved = saved_;
  view.max_itl = training_->trainer.training.max_itl;
  view.gap_used = gap_used_;
  view.tokens_used = static_cast<double>(gap_token_layers_) / training_->trainer.layers;
  view.running = scheduler_.running();
  view.token_budget = token_budget_;
  return view;
}

// On SMs of its own training goes on while serving does, a whole layer at a time.
void Node::submit_beside() {
  const TrainPieceView view = view_for_training();
  if (piece_ || training_->policy.train->allow(view).time <= Duration()) return;
  std::optional<TrainingPiece> piece = trainer_->next_piece(now_, view.serving_idle, scheduler_.lacks_blocks());
  if (!piece) return;
  piece->beside = true;
  piece_.emplace(host_.submit(*piece), *piece);
  trainer_->on_piece_submitted();
}

Node::PieceOutcome Node::decide_on_piece() {
  return steps_to_decision_ > 0 ? PieceOutcome::kServingMayFollow : submit_piece();
}

// Lets the next piece of training run before the next serving step, if the policy agrees.
Node::PieceOutcome Node::submit_piece() {
  if (piece_) return another_fits_ && !prompt_waits() ? PieceOutcome::kMoreMayFollow : PieceOutcome::kServingMayFollow;
  const TrainPieceView view = view_for_training();
  const std::optional<TrainingPiece> piece = trainer_->next_piece(now_, view.serving_idle, scheduler_.lacks_blocks());
  if (!piece) return PieceOutcome::kNothingToDo;
  const TrainAllowance allowance = training_->policy.train->allow(view);
  const auto part = trainer_->part_within(*piece, allowance);
  if (!part) return PieceOutcome::kServingMayFollow;
  piece_.emplace(host_.submit(part->piece), part->piece);
  trainer_->on_piece_submitted();
  gap_used_ += part->expected;
  gap_token_layers_ += part->piece.tokens;
  if (!view.serving_idle) saved_ -= std::min(saved_, part->expected);
  // If another piece fits into the gap, serving is planned when this one is done; if not, now, so that its step is
  // queued behind the piece and starts without delay.
  const Duration worth_it = Duration::nanoseconds(allowance.time.count_ns() / 8);
  const Duration rest = allowance.time - part->expected;
  const bool another_like_it = allowance.time >= allowance.cut_from || rest >= part->expected;
  // The host prepares the step while the gap's last pieces run: from this one on where the rest is shorter than that
  // takes, and none but this one where both are.
  const bool time_for_host = prepared_ || allowance.time >= training_->step_host_time;
  prepares_ahead_ = rest < training_->step_host_time;
  another_fits_ = !view.serving_idle && rest > worth_it && another_like_it && time_for_host &&
                  training_->policy.train->allow(view_for_training()).time > Duration();
  return another_fits_ ? PieceOutcome::kMoreMayFollow : PieceOutcome::kServingMayFollow;
}

void Node::submit_serving(bool training_waits) {
  if (const auto op = prepared_ ? std::exchange(prepared_, std::nullopt) : plan_serving(training_waits)) launch(*op);
}

// So that the host is done with the step when the gap's last piece is. A prompt that comes meanwhile is not in it.
void Node::prepare_serving() {
  prepared_ = plan_serving(true);
  if (!prepared_) return;
  preempted_.assign(prepared_->preempted.begin(), prepared_->preempted.end());
  grown_.assign(prepared_->grown.begin(), prepared_->grown.end());
  prepared_->preempted = preempted_;
  prepared_->grown = grown_;
}

std::optional<ServingOp> Node::plan_serving(bool training_waits) {
  std::optional<ServingOp> op = scheduler_.plan();
  if (!op) {
    steps_to_decision_ = 0;
    serving_is_stuck_ = outstanding_.empty() && !serving_idle();
    if (trainer_ && serving_is_stuck_) trains_beside() ? submit_beside() : static_cast<void>(submit_piece());
    return std::nullopt;
  }
  // Where nothing decodes, a prompt that has given way is begun again, and again stops where memory ends.
  serving_is_stuck_ = !op->preempted.empty() && scheduler_.decoding() == 0;
  op->planned = now_;
  // What did not fit the rest of this gap may fit the next one.
  if (training_waits && !piece_ && gap_used_ == Duration() && op->prefills.empty()) {
    if (steps_to_decision_ == 0) steps_to_decision_ = kStepsBetweenDecisions;
    op->max_steps = std::min(op->max_steps, steps_to_decision_);
    steps_to_decision_ -= op->max_steps;
  } else {
    steps_to_decision_ = 0;
    if (training_waits) op->max_steps = 1;
  }
  if (trainer_) record(*op);
  return op;
}

void Node::launch(const ServingOp& op) {
  gap_used_ = Duration();
  gap_token_layers_ = 0;
  outstanding_.push_back({host_.submit(op), !op.prefills.empty()});
  newest_in_last_step_ = false;
  for (const PrefillWork& work : prefills_) {
    // From here on the record stands, whatever becomes of the request.
    Served& served = served_[work.request.value()];
    if (!served.record || !(work.last || std::exchange(served.record_is_full, false))) continue;
    completing_.emplace_back(outstanding_.back().op, close_prompt(work.request));
  }
}

// Takes the memory for what is recorded of the tokens that this operation computes. Its KV blocks are taken already: KV
// comes first.
void Node::record(ServingOp& op) {
  prefills_.assign(op.prefills.begin(), op.prefills.end());
  answers_.clear();
  for (const RequestHandle handle : op.preempted) {
    Served& served = served_[handle.value()];
    if (served.record) store_->abandon(now_, close_prompt(handle));
    served.record_decided = served.record_is_full = false;
    served.answer_is_recorded = false;
    if (served.open) store_->abandon(now_, close_answer(handle));
  }
  for (const GrownTable& grown : op.grown) record_answer(grown.request);
  op.recorded_per_step = recorded_per_step_;
  for (PrefillWork& work : prefills_) record_prompt(work);
  op.prefills = prefills_;
  op.answers = answers_;
}

// Decides for a prompt that begins what is recorded of it. With its last chunk its answer's record begins as well.
void Node::record_prompt(PrefillWork& work) {
  Served& served = served_[work.request.value()];
  if (!served.record_decided) {
    served.record_decided = true;
    store_->set_decoding(scheduler_.decoding());
    served.record = store_->begin(now_, served.arrival, work.chunk.context, work.target, trainer_->version());
    served.is_recorded = served.record.has_value();
    if (served.record) {
      open_prompts_.push_back(work.request);
      served.lean = store_->part(*served.record, 0).lean;
      served.answer_too = store_->wants_answer(*served.record);
    }
  }
  if (!served.is_recorded) return;
  if (!served.record) {
    served.record = store_->begin_part(now_, served.arrival, work.chunk.context, served.lean, trainer_->version());
    open_prompts_.push_back(work.request);
  }
  const std::int32_t computed = work.chunk.context + work.chunk.tokens;
  work.recorded_tokens = store_->extend(now_, *served.record, work.chunk.tokens,
                                        scheduler_.blocks_for(work.target) - scheduler_.blocks_for(computed));
  if (work.recorded_tokens == 0) {
    const RecordId full = close_prompt(work.request);
    const bool is_empty = store_->part(full, 0).first_token == 0;
    is_empty ? store_->abandon(now_, full) : complete_behind_step(full);
    return;
  }
  work.record = store_->part(*served.record, work.recorded_tokens);
  work.recorded = store_->bytes_of(served.lean, work.recorded_tokens);
  served.record_is_full = work.recorded_tokens < work.chunk.tokens;
  if (!work.last || !served.answer_too) return;
  served.answer_is_recorded = true;
  begin_answer(work.request, work.target);
}

// Nothing joins the record of this part of the prompt any more.
RecordId Node::close_prompt(RequestHandle request) {
  std::erase(open_prompts_, request);
  return *std::exchange(served_[request.value()].record, std::nullopt);
}

// The step in progress, if there is one, computes the record's last tokens.
void Node::complete_behind_step(RecordId id) {
  if (outstanding_.empty()) return store_->complete(now_, id);
  completing_.emplace_back(outstanding_.back().op, id);
}

// A decoding request goes on in another KV block, and with it perhaps in another run of its answer's record.
void Node::record_answer(RequestHandle handle) {
  Served& served = served_[handle.value()];
  if (!served.answer_is_recorded) return;
  const std::int32_t computed = scheduler_.computed(handle);
  if (served.open && computed >= served.open->end_token) { complete_behind_step(close_answer(handle)); }
  if (!served.open) begin_answer(handle, computed);
}

// Up to the end of a run of KV blocks. Where memory is short the run goes without.
void Node::begin_answer(RequestHandle handle, std::int32_t first_token) {
  Served& served = served_[handle.value()];
  const std::int32_t tokens = answer_run_ - first_token % answer_run_;
  const auto record = store_->begin_answer(now_, served.arrival, first_token, tokens, served.lean, trainer_->version());
  if (!record) return;
  const Bytes bytes = store_->bytes_of(served.lean, tokens);
  served.open = Served::OpenAnswer{*record, first_token, first_token + tokens, store_->bytes_of(served.lean, 1)};
  open_answers_.push_back(handle);
  recorded_per_step_ += served.open->per_token;
  answers_.push_back({handle, first_token, tokens, bytes, store_->part(*record, tokens)});
}

// Nothing joins the request's open record any more.
RecordId Node::close_answer(RequestHandle handle) {
  const Served::OpenAnswer open = *std::exchange(served_[handle.value()].open, std::nullopt);
  recorded_per_step_ -= open.per_token;
  std::erase(open_answers_, handle);
  return open.record;
}

void Node::end(std::span<const RequestHandle> ended) {
  if (!ended.empty()) steps_to_decision_ = 0;
  if (trainer_) {
    for (const RequestHandle handle : ended) {
      const auto& open = served_[handle.value()].open;
      if (!open) continue;
      const std::int32_t tokens = scheduler_.computed(handle) - open->first_token;
      store_->complete_answer(now_, close_answer(handle), tokens);
    }
  }
  scheduler_.end(ended);
}

// Records that are being made give way behind those that are complete, the newest first; what is being trained last.
void Node::reclaim(std::int32_t blocks, bool urgent) {
  const std::int32_t wanted = scheduler_.pool().free() + blocks;
  std::int32_t missing = store_->reclaim(now_, blocks, urgent);
  while (urgent && scheduler_.pool().free() < wanted && !open_answers_.empty()) {
    store_->abandon(now_, close_answer(open_answers_.back()));
  }
  // A prompt whose record has the memory of its own next chunk would give way to itself for ever.
  while (urgent && scheduler_.pool().free() < wanted && !open_prompts_.empty()) {
    served_[open_prompts_.back().value()].is_recorded = false;
    store_->abandon(now_, close_prompt(open_prompts_.back()));
  }
  if (urgent) missing = wanted - scheduler_.pool().free();
  if (missing > 0) trainer_->give_way(missing);
}

}  // namespace alchemist

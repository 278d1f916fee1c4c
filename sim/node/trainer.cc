#include "sim/node/trainer.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "sim/base/check.h"

namespace alchemist {

Trainer::Trainer(const TrainerConfig& config, BlockPool& pool, ActivationStore& store, Policy& policy,
                 const Estimator& estimator, Host& host)
    : config_(config),
      pool_(pool),
      store_(store),
      policy_(policy),
      estimator_(estimator),
      host_(host),
      window_(config.window_layers),
      traffic_(host, estimator, config.layers) {
  check(config.micro_batch_tokens > 0, "the trainer is configured");
  offloads_ = true;  // at most: what decides how many tokens can fit
  // Some memory is left for serving, which has to go on meanwhile.
  constexpr double kMostOfMemory = 0.9;
  constexpr std::int64_t kMany = 1'000'000;  // tokens; rounding is negligible over so many
  const auto tokens_in = [](Bytes memory, Bytes of_many) {
    return static_cast<std::int64_t>(memory.as_double() * kMostOfMemory / (of_many.as_double() / kMany));
  };
  Bytes of_many = fresh_bytes(kMany);
  if (policy.place) of_many = std::max(of_many, window_bytes(kMany)) + key_bytes(kMany) * most_key_layers();
  most_tokens_ = tokens_in(config.page_bytes * pool.total(), of_many + config.working_per_token * kMany);
  if (const Bytes host_bytes = fresh_host_bytes(kMany); host_bytes > Bytes()) {
    most_tokens_ = std::min(most_tokens_, tokens_in(store.host_capacity(), host_bytes));
  }
  if (policy.fresh == FreshActivations::kSpill) {  // what the host has no place for may stay
    Bytes kept = config.bytes.minimal * kMany + config.working_per_token * kMany;
    if (policy.place) kept += key_bytes(kMany) * most_key_layers();
    most_tokens_ = std::max(most_tokens_, tokens_in(config.page_bytes * pool.total(), kept));
  }
  config_.micro_batch_tokens = std::min(config.micro_batch_tokens, most_tokens_);
  offloads_ = false;
}

void Trainer::on_feedback(Time now, const Feedback& feedback) {
  const std::int64_t tokens = feedback.tokens();
  if (tokens > most_tokens_) {
    ++totals_.too_long;
    return;
  }
  ready_.add(feedback);
  store_.on_feedback(now, feedback);
}

TrainerTotals Trainer::totals() const {
  TrainerTotals totals = totals_;
  totals.queued_samples = ready_.samples();
  totals.queued_tokens = ready_.tokens();
  for (const MicroBatch& batch : micro_batches_) {
    totals.queued_samples += static_cast<std::int64_t>(batch.samples.size());
    totals.queued_tokens += batch.tokens;
  }
  return totals;
}

bool Trainer::start_step(Time now) {
  const TrainStartView view{ready_.tokens(), config_.training.batch_tokens};
  const bool wanted = policy_.train && ready_.samples() > 0 && policy_.train->start_step(view);
  if (!wanted && !awaited_) return false;
  in_step_ = true;
  step_ = TrainingStep();
  step_.start = now;
  trained_.clear();
  step_targets_ = 0;
  micro_batch_begun_ = false;
  gather(now, config_.training.batch_tokens);
  if (micro_batches_.empty()) join_all_reduce(now);
  return true;
}

// Takes samples of about so many tokens, in micro-batches. Where replicas share what they have not begun, long ones
// come first, so that nobody waits for the last of them for long (Graham's rule of the longest processing time).
void Trainer::gather(Time now, std::int64_t tokens) {
  const std::int32_t max_lag = config_.training.max_version_lag;
  std::vector<Feedback> samples = ready_.take(
      tokens, policy_.samples, [&](const Feedback& sample) { return store_.saved_share(sample, version_, max_lag); });
  if (policy_.samples == SampleOrder::kRecorded) store_.on_taken(now, samples);
  if (config_.replicas > 1) std::ranges::stable_sort(samples, std::ranges::greater(), &Feedback::tokens);
  for (const Feedback& sample : samples) {
    if (micro_batches_.empty() || micro_batches_.back().tokens + sample.tokens() > config_.micro_batch_tokens) {
      micro_batches_.emplace_back();
    }
    micro_batches_.back().add(sample);
    step_targets_ += sample.answer_tokens();
  }
}

std::int64_t Trainer::hand_over() {
  check(micro_batches_to_begin() > 0, "what has begun stays");
  const MicroBatch last = std::move(micro_batches_.back());
  micro_batches_.pop_back();
  step_targets_ -= last.targets;
  ready_.put_back(last.samples, policy_.samples);
  return last.tokens;
}

void Trainer::take_over(Time now, std::int64_t tokens) {
  check(all_reduce_.has_value(), "who waits takes over");
  all_reduce_.reset();
  step_.gradient_wait += now - joined_;
  gather(now, std::min(tokens, config_.micro_batch_tokens));
  while (micro_batches_to_begin() > 0) hand_over();  // its last sample may have been too long
  if (micro_batches_.empty()) join_all_reduce(now);
}

// The gradients of this replica are complete.
void Trainer::join_all_reduce(Time now) {
  awaited_ = false;
  if (config_.replicas == 1) return;
  all_reduce_ = host_.all_reduce();
  joined_ = now;
}

bool Trainer::on_all_reduced(Time now, OpId op) {
  if (op != all_reduce_) return false;
  all_reduce_.reset();
  step_.gradient_wait += now - joined_;
  return true;
}

// Records are looked up when the micro-batch begins, not when the step does: until then they may still be evicted.
// While serving has nothing to do the link is to be measured against training at full speed, not against what it has
// been of late: it would be the longer of the two, and idle time would pass with waiting for it. False, and nothing is
// held, where memory is short.
bool Trainer::prepare(Time now, bool alone, RecordsOnHost on_host) {
  MicroBatch& batch = micro_batches_.front();
  batch.acquire(store_, version_, config_.training.max_version_lag, on_host);
  const RestorePace pace{alone ? std::vector{1.0} : pace_.outlook(),
                         traffic_.pace(LinkDirection::kHostToDevice).factor()};
  plan_restore(batch, config_.layers, config_.bytes, config_.training.uses_reference(), pace, policy_, estimator_);
  batch.recompute_below = std::min(batch.recompute_below, layers_to_go());
  choose_memory();
  // Layers that are recomputed stay, which may be more than there is room for at all.
  if (batch.recompute_below > 0 && pages_needed() > pool_.total()) {
    batch.reload_all();
    choose_memory();
  }
  // What its own records have of the host may be what its fresh activations lack there, for as long as it waits.
  if (on_host == RecordsOnHost::kUse && offloads_) {
    const Bytes lacking = store_.lacks_host(fresh_host_bytes(batch.fresh));
    if (lacking > Bytes() && lacking <= store_.host_bytes_of(batch.records)) {
      store_.put_back(batch.records);
      return prepare(now, alone, RecordsOnHost::kLeave);
    }
  }
  if (take_memory(now, alone)) return true;
  // Serving has priority; the records go back and the micro-batch waits.
  store_.put_back(batch.records);
  return false;
}

bool Trainer::begin_micro_batch(Time now, bool alone) {
  if (!prepare(now, alone, RecordsOnHost::kUse)) return false;
  const MicroBatch& batch = micro_batches_.front();
  micro_batch_begun_ = true;
  pace_.on_begin(now);
  enter_first_phase();
  tell_host();
  if (batch.host > 0 && batch.recompute_below < layers_to_go()) store_.mark_reloaded(batch.records);
  std::vector<Bytes> reloads;
  for (std::int32_t layer = 0; layer < layers_to_go(); ++layer) {
    reloads.push_back(record_reload_bytes(batch, layer, config_.layers, config_.bytes));
  }
  const Bytes fresh = offloads_ ? Bytes((config_.bytes.minimal * batch.fresh).count() / config_.layers) : Bytes();
  const Bytes keys = key_layers() > 0 ? key_bytes(batch.host) : Bytes();
  traffic_.begin(now, window_, std::move(reloads), fresh, keys, batch.recompute_below, key_layers());
  return true;
}

void Trainer::enter_first_phase() {
  const MicroBatch& batch = micro_batches_.front();
  layer_ = 0;
  phase_ = Phase::kReference;
  if (!config_.training.uses_reference() || batch.resumes_below) enter_first_own_phase();
}

// Of the trained model's own work.
void Trainer::enter_first_own_phase() {
  phase_ = Phase::kForward;
  if (layers_to_forward() == 0) enter_phase_behind_forward();
}

void Trainer::enter_phase_behind_forward() {
  if (!micro_batches_.front().resumes_below) {
    phase_ = Phase::kHead;
  } else {
    enter_backward();
  }
}

void Trainer::enter_backward() {
  phase_ = Phase::kBackward;
  layer_ = layers_to_go() - 1;
}

std::int32_t Trainer::layers_to_go() const { return micro_batches_.front().resumes_below.value_or(config_.layers); }

std::int32_t Trainer::layers_to_forward() const {
  const MicroBatch& batch = micro_batches_.front();
  return batch.fresh > 0 ? layers_to_go() : batch.recompute_below;
}

void Trainer::tell_host() {
  const MicroBatch& batch = micro_batches_.front();
  MicroBatchWork work;
  work.samples = batch.samples;
  work.step_targets = step_targets_;
  work.recorded = batch.recorded;
  work.pages = pages_;
  if (batch.host > 0) work.restore = batch.restore.layers;
  work.recompute_below = batch.recompute_below;
  work.fresh = offloads_                                        ? FreshActivations::kOffload
               : policy_.fresh == FreshActivations::kCheckpoint ? FreshActivations::kCheckpoint
                                                                : FreshActivations::kKeep;
  work.key_layers = key_layers();
  work.layers = layers_to_go();
  work.fresh_layers = offloads_ ? std::min(work.layers, window_) : work.layers;
  work.resumes = batch.resumes_below.has_value();
  host_.begin(work);
}

bool Trainer::on_copy_done(Time now, OpId op) {
  if (!traffic_.on_copy_done(now, op)) return false;
  if (giving_way_) stop_if_possible();
  return true;
}

std::optional<TrainingPiece> Trainer::next_piece(Time now, bool alone, bool short_of_memory) {
  if (piece_outstanding_ || (giving_way_ && may_stop())) return std::nullopt;
  if (!in_step_ && !start_step(now)) return std::nullopt;
  if (all_reduce_) return std::nullopt;
  if (!micro_batches_.empty()) {
    if (could_do_with_less(now)) stop_if_possible();
    if (!micro_batch_begun_ && (short_of_memory || !begin_micro_batch(now, alone))) return std::nullopt;
    pace_.on_ready(now, ready_to_run());
    if (!ready_to_run()) return std::nullopt;
  }
  return make_piece();
}

bool Trainer::ready_to_run() const {
  if (phase_ == Phase::kForward) return traffic_.has_room(layer_) && traffic_.keys_are_here(layer_);
  if (phase_ == Phase::kHead && micro_batches_.front().host_targets > 0) return traffic_.is_here(config_.layers - 1);
  return phase_ != Phase::kBackward || traffic_.is_here(layer_);
}

bool Trainer::waits_for_copy() const {
  return in_step_ && micro_batch_begun_ && !piece_outstanding_ && !ready_to_run();
}

// Tokens of the phase's layer, or parameters of the optimizer.
std::int64_t Trainer::size_of_phase() const {
  if (micro_batches_.empty()) return config_.trained_parameters;
  const MicroBatch& batch = micro_batches_.front();
  switch (phase_) {
    case Phase::kForward:
      return batch.forward_tokens(layer_);
    case Phase::kReferenceHead:
    case Phase::kHead:
      return batch.targets;
    case Phase::kReference:
      return batch.distinct.tokens();
    case Phase::kBackward:
      break;
  }
  return batch.tokens;
}

TrainingPiece Trainer::make_piece() const {
  TrainingPiece piece;
  if (micro_batches_.empty()) {
    piece.kind = PieceKind::kOptimizer;
    piece.parameters = size_of_phase();
    return rest_of(piece);
  }
  const MicroBatch& batch = micro_batches_.front();
  piece.layer = layer_;
  piece.tokens = size_of_phase();
  switch (phase_) {
    case Phase::kReference:
      piece.kind = PieceKind::kReference;
      break;
    case Phase::kReferenceHead:
      piece.kind = PieceKind::kReferenceHead;
      break;
    case Phase::kForward:
      piece.kind = PieceKind::kForward;
      break;
    case Phase::kHead:
      piece.kind = PieceKind::kHead;
      piece.recorded_targets = batch.recorded_targets(config_.layers);
      piece.rebuild_tokens = batch.rebuilt_targets(config_.layers);
      break;
    case Phase::kBackward:
      piece.kind = PieceKind::kBackward;
      piece.rebuild_tokens = batch.rebuilt_tokens(layer_);
      if (policy_.fresh == FreshActivations::kCheckpoint) piece.checkpoint_tokens = batch.fresh;
      break;
  }
  if (config_.kept_versions > 0) piece.adapter_changes = static_cast<double>(batch.version_changes_of(piece));
  return rest_of(piece);
}

// Of a piece that stands for all of its layer, or the optimizer, what is not done yet.
TrainingPiece Trainer::rest_of(TrainingPiece whole) const {
  whole.first_token = done_;
  return first_part(whole, size_of(whole) - done_, [this](const TrainingPiece& part) { return keys_of(part); });
}

std::optional<PricedPiece> Trainer::part_within(const TrainingPiece& piece, const TrainAllowance& allowance) const {
  return alchemist::part_within(
      piece, allowance, estimator_, [this](const TrainingPiece& part) { return keys_of(part); }, config_.token_tile);
}

double Trainer::keys_of(const TrainingPiece& piece) const {
  return micro_batches_.empty() ? 0 : micro_batches_.front().keys_of(piece);
}

// Of a forward piece: over tokens that serving had computed with these weights. It had not run the reference model, nor
// seen answers that it did not give.
double Trainer::redundant_share(const TrainingPiece& piece) const {
  if (piece.kind != PieceKind::kForward) return 0;
  const MicroBatch& batch = micro_batches_.front();
  const std::int64_t others = batch.fresh - batch.fresh_served, all = batch.forward_tokens(piece.layer);
  return static_cast<double>(all - others) / static_cast<double>(all);
}

void Trainer::on_piece_submitted() {
  check(!piece_outstanding_, "one piece at a time");
  piece_outstanding_ = true;
}

void Trainer::on_piece_done(Time now, const TrainingPiece& piece, Duration ran) {
  check(piece_outstanding_, "a piece ends once");
  piece_outstanding_ = false;
  const Duration gpu_time = Duration::seconds(ran.in_seconds() * config_.gpu_share);
  step_.gpu_time += gpu_time;
  pace_.on_ran(now, ran);
  switch (phase_of(piece.kind)) {
    case TrainingPhase::kForward:
      step_.forward += ran;
      step_.redundant_forward += scaled(gpu_time, redundant_share(piece));
      break;
    case TrainingPhase::kOptimizer:
      step_.optimizer += ran;
      break;
    default:
      step_.backward += ran;
      break;
  }
  done_ += size_of(piece);
  if (done_ == size_of_phase()) {
    done_ = 0;
    at_new_layer_ = true;
    micro_batches_.empty() ? end_step(now) : advance(now);
  }
  if (giving_way_) stop_if_possible();
}

void Trainer::advance(Time now) {
  switch (phase_) {
    case Phase::kReference:
      if (++layer_ < config_.layers) return;
      layer_ = 0;
      phase_ = Phase::kReferenceHead;
      return;
    case Phase::kReferenceHead:
      enter_first_own_phase();
      return;
    case Phase::kForward:
      traffic_.on_forward(now, layer_);
      if (++layer_ < layers_to_forward()) return;
      enter_phase_behind_forward();
      return;
    case Phase::kHead:
      enter_backward();
      return;
    case Phase::kBackward:
      if (--layer_ >= 0) {
        traffic_.on_backward(now, layer_);
        return;
      }
      end_micro_batch(now);
      return;
  }
}

void Trainer::end_micro_batch(Time now) {
  pace_.on_end();
  MicroBatch& batch = micro_batches_.front();
  spare_ /= 2;
  // The next one goes on with the memory, if there is one and serving lets it.
  if (micro_batches_.size() == 1 || std::exchange(giving_way_, false)) keep_pages(0);
  end_on_host();
  step_.tokens += batch.tokens;
  step_.samples += static_cast<std::int64_t>(batch.samples.size());
  // A reloaded token counts as reused by the share of its layers that were not recomputed.
  const std::int64_t recomputed_of_host = batch.host * batch.recompute_below / config_.layers;
  store_.on_used(now, batch.restored(), batch.restored() - recomputed_of_host);
  step_.reused_tokens += batch.restored() - recomputed_of_host;
  step_.recomputed_tokens += batch.fresh + recomputed_of_host;
  step_.dropped_tokens += batch.dropped;
  step_.reusing_samples += batch.samples_with_record;
  store_.put_back(batch.records);
  for (std::size_t i = 0; i < batch.samples.size(); ++i) {
    step_.version_lag_sum += batch.lags[i].value_or(0);
    trained_.push_back({batch.samples[i].request, batch.lags[i]});
    store_.end_of_use(now, batch.samples[i].request);
  }
  micro_batches_.pop_front();
  micro_batch_begun_ = false;
  if (micro_batches_.empty()) join_all_reduce(now);
}

void Trainer::end_step(Time now) {
  version_ = WeightVersion(version_.value() + 1);
  step_.version = version_;
  step_.end = now;
  totals_.samples += step_.samples;
  in_step_ = false;
  host_.report(step_, trained_);
  store_.on_trained(now, step_.tokens);
  store_.on_new_version(now, version_, config_.training.max_version_lag);
}

}  // namespace alchemist

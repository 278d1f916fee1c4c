#include "sim/node/trainer.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {

Trainer::Trainer(const TrainerConfig& config, BlockPool& pool, ActivationStore& store, Policy& policy,
                 const Estimator& estimator, Host& host)
    : config_(config), pool_(pool), store_(store), policy_(policy), estimator_(estimator), host_(host) {
  check(config.layers > 0 && config.micro_batch_tokens > 0 && config.reload_window > 0, "the trainer is configured");
  // Some memory is left for serving, which has to go on meanwhile.
  constexpr double kMostOfMemory = 0.9;
  const double memory = (config.page_bytes * pool.total()).as_double() * kMostOfMemory;
  constexpr std::int64_t kMany = 1'000'000;  // tokens; rounding is negligible over so many
  most_tokens_ = static_cast<std::int64_t>(memory / (fresh_bytes(kMany).as_double() / kMany));
  config_.micro_batch_tokens = std::min(config.micro_batch_tokens, most_tokens_);
}

void Trainer::on_feedback(Time, const Feedback& feedback) {
  const std::int64_t tokens = feedback.prompt_tokens + feedback.output_tokens;
  if (tokens > most_tokens_) {
    ++totals_.too_long;
    return;
  }
  ready_.push_back(feedback);
  ready_tokens_ += tokens;
  store_.on_feedback(feedback);
}

// Memory for the activations of tokens without a record.
Bytes Trainer::fresh_bytes(std::int64_t tokens) const {
  const std::int64_t layers = config_.layers;
  const Bytes layer(config_.minimal_per_token.count() / layers);
  switch (policy_.fresh) {
    case FreshActivations::kKeep:
      return config_.minimal_per_token * tokens;
    case FreshActivations::kCheckpoint:
      return config_.input_per_token * tokens + layer * tokens;
    case FreshActivations::kOffload:
      return layer * tokens * std::min<std::int64_t>(layers, config_.reload_window);
  }
  return Bytes();
}

TrainerTotals Trainer::totals() const {
  TrainerTotals totals = totals_;
  totals.queued_samples = static_cast<std::int64_t>(ready_.size());
  for (const MicroBatch& batch : micro_batches_)
    totals.queued_samples += static_cast<std::int64_t>(batch.samples.size());
  return totals;
}

bool Trainer::start_step(Time now) {
  const TrainStartView view{ready_tokens_, config_.training.batch_tokens};
  if (!policy_.train || ready_.empty() || !policy_.train->start_step(view)) return false;
  in_step_ = true;
  step_ = TrainingStep();
  step_.start = now;
  trained_.clear();
  std::int64_t tokens = 0;
  while (!ready_.empty() && tokens < config_.training.batch_tokens) {
    const Feedback sample = ready_.front();
    const std::int64_t size = sample.prompt_tokens + sample.output_tokens;
    ready_.pop_front();
    ready_tokens_ -= size;
    tokens += size;
    if (micro_batches_.empty() || micro_batches_.back().tokens + size > config_.micro_batch_tokens) {
      micro_batches_.emplace_back();
    }
    MicroBatch& batch = micro_batches_.back();
    batch.samples.push_back(sample);
    batch.tokens += size;
    batch.keys += static_cast<double>(size) * (static_cast<double>(size) + 1) / 2;
  }
  micro_batch_begun_ = false;
  return true;
}

// Records are looked up when the micro-batch begins, not when the step does: until then they may still be evicted.
void Trainer::gather(MicroBatch& batch) {
  batch.records.clear();
  batch.recorded.clear();
  batch.lags.clear();
  batch.resident = batch.host = batch.lean = batch.host_lean = batch.dropped = 0;
  for (const Feedback& sample : batch.samples) {
    const Coverage coverage = store_.acquire(sample, version_, config_.training.max_version_lag);
    batch.resident += coverage.resident_tokens;
    batch.host += coverage.host_tokens;
    batch.lean += coverage.resident_lean + coverage.host_lean;
    batch.host_lean += coverage.host_lean;
    batch.dropped += coverage.dropped_tokens;
    batch.records.insert(batch.records.end(), coverage.records.begin(), coverage.records.end());
    for (RecordedTokens part : coverage.parts) {
      part.sample = static_cast<std::int32_t>(batch.lags.size());
      batch.recorded.push_back(part);
    }
    batch.lags.push_back(coverage.version_lag);
  }
  batch.fresh = batch.tokens - batch.resident - batch.host;
  check(batch.fresh >= 0, "records hold no more than the sample");
}

std::int32_t Trainer::pages_needed() const {
  const MicroBatch& batch = micro_batches_.front();
  const std::int64_t layers = config_.layers;
  const Bytes layer_bytes(config_.minimal_per_token.count() / layers);
  Bytes bytes = fresh_bytes(batch.fresh);
  bytes += layer_bytes * batch.host * std::min<std::int64_t>(layers, config_.reload_window + batch.recompute_below);
  return static_cast<std::int32_t>((bytes + config_.page_bytes - Bytes(1)) / config_.page_bytes);
}

bool Trainer::begin_micro_batch(Time now) {
  MicroBatch& batch = micro_batches_.front();
  gather(batch);
  choose_restore();
  const std::int32_t pages = pages_needed();
  if (pool_.free() < pages && !store_.make_room(now, pages)) {
    // Serving has priority; the records go back and the micro-batch waits.
    store_.put_back(batch.records);
    check(pages <= pool_.total(), "a micro-batch fits the memory");
    return false;
  }
  for (std::int32_t i = 0; i < pages; ++i) pages_.push_back(pool_.allocate());
  micro_batch_begun_ = true;
  phase_ = batch.fresh > 0 ? Phase::kFresh : batch.recompute_below > 0 ? Phase::kRecompute : Phase::kHead;
  layer_ = 0;
  reloaded_to_ = offloads() ? std::max(0, config_.layers - config_.reload_window) : config_.layers;
  tell_host();
  if (batch.host > 0) {
    store_.mark_reloaded(batch.records);
    continue_reload();
  }
  return true;
}

void Trainer::tell_host() {
  const MicroBatch& batch = micro_batches_.front();
  MicroBatchWork work;
  work.samples = batch.samples;
  work.recorded = batch.recorded;
  work.pages = pages_;
  if (batch.host > 0) work.restore = batch.restore.layers;
  work.recompute_below = batch.recompute_below;
  work.fresh = policy_.fresh;
  host_.begin(work);
}

// Without a restore decision everything that has a host copy is reloaded.
void Trainer::choose_restore() {
  MicroBatch& batch = micro_batches_.front();
  batch.recompute_below = 0;
  if (batch.host == 0) return;
  const std::int64_t recorded = batch.resident + batch.host;
  const Bytes gate_up = config_.minimal_per_token - config_.lean_per_token;
  const auto piece_seconds = [&](PieceKind kind, std::int64_t tokens, std::int64_t rebuilt) {
    TrainingPiece piece;
    piece.kind = kind;
    piece.tokens = tokens;
    piece.attended_keys = batch.keys_of(tokens);
    piece.rebuild_tokens = rebuilt;
    return estimator_.piece(piece).in_seconds();
  };
  const auto copy_seconds = [&](Bytes all_layers) {
    return estimator_.copy(LinkDirection::kHostToDevice, Bytes(all_layers.count() / config_.layers)).in_seconds();
  };
  LayerTimes times;
  times.layers = config_.layers;
  times.forward = piece_seconds(PieceKind::kRecompute, recorded, 0);
  times.backward = piece_seconds(PieceKind::kBackward, batch.tokens, 0);
  times.rebuild_gate_up = piece_seconds(PieceKind::kBackward, batch.tokens, recorded) - times.backward;
  times.reload_lean = copy_seconds(config_.lean_per_token * recorded);
  times.reload_full = copy_seconds(config_.lean_per_token * recorded + gate_up * (recorded - batch.lean));
  times.head = piece_seconds(PieceKind::kHead, batch.tokens, 0);
  RestoreProblem problem(times);
  const double absent = static_cast<double>(batch.host) / static_cast<double>(recorded);
  for (LayerRecord& record : problem.records) record.absent_share = absent;
  problem.gate_up_recorded = batch.lean < recorded;
  if (batch.fresh > 0) problem.fresh_forward = piece_seconds(PieceKind::kForward, batch.fresh, 0);
  batch.restore = policy_.restore ? policy_.restore->choose(problem) : reload_all(problem);
  while (batch.recompute_below < config_.layers &&
         batch.restore.layers[static_cast<std::size_t>(batch.recompute_below)].source == LayerSource::recompute) {
    ++batch.recompute_below;
  }
}

// Fresh activations go to the host and come back, but for those of the last layers, which backward needs first.
bool Trainer::offloads() const {
  return policy_.fresh == FreshActivations::kOffload && micro_batches_.front().fresh > 0;
}

std::int32_t Trainer::reload_floor() const { return offloads() ? 0 : micro_batches_.front().recompute_below; }

Bytes Trainer::reload_bytes(std::int32_t layer) const {
  const MicroBatch& batch = micro_batches_.front();
  if (offloads()) return Bytes((config_.minimal_per_token * batch.fresh).count() / config_.layers);
  const double share = batch.restore.layers[static_cast<std::size_t>(layer)].gate_up_share;
  const std::int64_t full = batch.host - batch.host_lean;
  const Bytes gate_up = config_.minimal_per_token - config_.lean_per_token;
  const double bytes = (config_.lean_per_token * batch.host).as_double() + (gate_up * full).as_double() * share;
  return Bytes(static_cast<std::int64_t>(bytes / config_.layers));
}

// One layer at a time, from the last down, as far ahead of backward as the window allows: sharing the link among
// several would only delay the layer that is needed first.
void Trainer::continue_reload() {
  const MicroBatch& batch = micro_batches_.front();
  if (reload_ || (batch.host == 0 && !offloads()) || reloaded_to_ <= reload_floor()) return;
  if (offloads() && (phase_ == Phase::kFresh || !offloads_.empty())) return;
  const std::int32_t next_backward = phase_ == Phase::kBackward ? layer_ : config_.layers - 1;
  if (next_backward - (reloaded_to_ - 1) >= config_.reload_window) return;
  reload_ = host_.submit(CopyOp{LinkDirection::kHostToDevice, reload_bytes(reloaded_to_ - 1), {}, reloaded_to_ - 1});
}

void Trainer::offload_layer() {
  if (!offloads() || layer_ >= config_.layers - config_.reload_window) return;
  offloads_.insert(host_.submit(CopyOp{LinkDirection::kDeviceToHost, reload_bytes(layer_), {}, layer_}));
}

bool Trainer::on_copy_done(Time, OpId op) {
  if (offloads_.erase(op) > 0) {
    continue_reload();
    return true;
  }
  if (!reload_ || *reload_ != op) return false;
  reload_.reset();
  --reloaded_to_;
  continue_reload();
  return true;
}

std::optional<TrainingPiece> Trainer::next_piece(Time now) {
  if (piece_outstanding_) return std::nullopt;
  if (!in_step_ && !start_step(now)) return std::nullopt;
  if (!micro_batches_.empty()) {
    if (!micro_batch_begun_ && !begin_micro_batch(now)) return std::nullopt;
    if (!ready_to_run()) return std::nullopt;
  }
  return make_piece();
}

bool Trainer::ready_to_run() const {
  if (phase_ == Phase::kFresh) return static_cast<std::int32_t>(offloads_.size()) < config_.reload_window;
  if (phase_ != Phase::kBackward) return true;
  const bool comes_over_link = offloads() || (micro_batches_.front().host > 0 && layer_ >= reload_floor());
  return !comes_over_link || layer_ >= reloaded_to_;
}

bool Trainer::waits_for_copy() const {
  return in_step_ && micro_batch_begun_ && !piece_outstanding_ && !ready_to_run();
}

// Tokens whose gate and up are rebuilt before this layer's backward: lean records, and what the plan leaves on the
// host. Below the meeting layer host tokens were recomputed in full.
std::int64_t Trainer::rebuilt_tokens() const {
  const MicroBatch& batch = micro_batches_.front();
  const std::int64_t resident_lean = batch.lean - batch.host_lean;
  if (batch.host == 0 || layer_ < batch.recompute_below) return resident_lean;
  const double left = 1 - batch.restore.layers[static_cast<std::size_t>(layer_)].gate_up_share;
  return batch.lean + static_cast<std::int64_t>(static_cast<double>(batch.host - batch.host_lean) * left);
}

// Tokens of the phase's layer, or parameters of the optimizer.
std::int64_t Trainer::size_of_phase() const {
  if (micro_batches_.empty()) return config_.trained_parameters;
  const MicroBatch& batch = micro_batches_.front();
  if (phase_ == Phase::kFresh) return batch.fresh;
  return phase_ == Phase::kRecompute ? batch.host : batch.tokens;
}

namespace {

std::int64_t size_of(const TrainingPiece& piece) {
  return piece.kind == PieceKind::kOptimizer ? piece.parameters : piece.tokens;
}

// The same piece for fewer of its tokens or parameters. Attention's share is taken as proportional, which it is on
// average.
TrainingPiece scaled(const TrainingPiece& piece, std::int64_t size) {
  TrainingPiece part = piece;
  const double share = static_cast<double>(size) / static_cast<double>(size_of(piece));
  const auto of = [&](std::int64_t whole) { return static_cast<std::int64_t>(static_cast<double>(whole) * share); };
  (piece.kind == PieceKind::kOptimizer ? part.parameters : part.tokens) = size;
  part.attended_keys = piece.attended_keys * share;
  part.rebuild_tokens = of(piece.rebuild_tokens);
  part.checkpoint_tokens = of(piece.checkpoint_tokens);
  return part;
}

// Fewer tokens would leave matrix units idle and pay for reading the weights all the same; fewer parameters would not
// be worth a launch.
std::int64_t smallest_part(PieceKind kind) { return kind == PieceKind::kOptimizer ? 1 << 20 : 128; }

}  // namespace

TrainingPiece Trainer::make_piece() const {
  TrainingPiece piece;
  if (micro_batches_.empty()) {
    piece.kind = PieceKind::kOptimizer;
    piece.parameters = size_of_phase();
    piece.first_token = done_;
    return scaled(piece, piece.parameters - done_);
  }
  const MicroBatch& batch = micro_batches_.front();
  piece.layer = layer_;
  piece.tokens = size_of_phase();
  piece.attended_keys = batch.keys_of(piece.tokens);
  switch (phase_) {
    case Phase::kFresh:
      piece.kind = PieceKind::kForward;
      break;
    case Phase::kRecompute:
      piece.kind = PieceKind::kRecompute;
      break;
    case Phase::kHead:
      piece.kind = PieceKind::kHead;
      break;
    case Phase::kBackward:
      piece.kind = PieceKind::kBackward;
      piece.rebuild_tokens = rebuilt_tokens();
      if (policy_.fresh == FreshActivations::kCheckpoint) piece.checkpoint_tokens = batch.fresh;
      break;
  }
  piece.first_token = done_;
  return scaled(piece, piece.tokens - done_);
}

std::optional<TrainingPiece> Trainer::part_within(const TrainingPiece& piece, const TrainAllowance& allowance) const {
  const Duration whole = estimator_.piece(piece);
  if (allowance.time <= Duration()) return std::nullopt;
  const std::int64_t full = size_of(piece), smallest = smallest_part(piece.kind);
  std::int64_t size = piece.kind == PieceKind::kOptimizer ? full : std::min(full, allowance.tokens);
  if (whole > allowance.time) {
    const double share = allowance.time / whole;
    size = std::min(size, static_cast<std::int64_t>(static_cast<double>(full) * share));
  }
  // A part costs more than its share, because it reads the weights again: shrink until it fits.
  while (size >= smallest && size < full && estimator_.piece(scaled(piece, size)) > allowance.time) {
    size -= std::max<std::int64_t>(size / 8, 1);
  }
  if (size < std::min(smallest, full)) return std::nullopt;
  return scaled(piece, size);
}

void Trainer::on_piece_submitted() {
  check(!piece_outstanding_, "one piece at a time");
  piece_outstanding_ = true;
}

void Trainer::on_piece_done(Time now, const TrainingPiece& piece, Duration ran) {
  check(piece_outstanding_, "a piece ends once");
  piece_outstanding_ = false;
  step_.gpu_time += ran;
  switch (phase_of(piece.kind)) {
    case TrainingPhase::kForward:
      step_.forward += ran;
      step_.redundant_forward += ran;  // serving has computed every token of a sample once
      break;
    case TrainingPhase::kOptimizer:
      step_.optimizer += ran;
      break;
    default:
      step_.backward += ran;
      break;
  }
  done_ += size_of(piece);
  if (done_ < size_of_phase()) return;
  done_ = 0;
  micro_batches_.empty() ? end_step(now) : advance();
}

void Trainer::advance() {
  const MicroBatch& batch = micro_batches_.front();
  switch (phase_) {
    case Phase::kFresh:
      offload_layer();
      if (++layer_ < config_.layers) return;
      layer_ = 0;
      phase_ = batch.recompute_below > 0 ? Phase::kRecompute : Phase::kHead;
      continue_reload();
      return;
    case Phase::kRecompute:
      if (++layer_ < batch.recompute_below) return;
      phase_ = Phase::kHead;
      return;
    case Phase::kHead:
      phase_ = Phase::kBackward;
      layer_ = config_.layers - 1;
      return;
    case Phase::kBackward:
      if (--layer_ >= 0) {
        continue_reload();
        return;
      }
      end_micro_batch();
      return;
  }
}

void Trainer::end_micro_batch() {
  MicroBatch& batch = micro_batches_.front();
  for (const BlockId page : pages_) pool_.release_first(page);
  pages_.clear();
  step_.tokens += batch.tokens;
  step_.samples += static_cast<std::int64_t>(batch.samples.size());
  // A reloaded token counts as reused by the share of its layers that were not recomputed.
  const std::int64_t recomputed_of_host = batch.host * batch.recompute_below / config_.layers;
  step_.reused_tokens += batch.resident + batch.host - recomputed_of_host;
  step_.recomputed_tokens += batch.fresh + recomputed_of_host;
  step_.dropped_tokens += batch.dropped;
  store_.put_back(batch.records);
  for (std::size_t i = 0; i < batch.samples.size(); ++i) {
    step_.version_lag_sum += batch.lags[i];
    trained_.push_back({batch.samples[i].request, batch.lags[i]});
    store_.end_of_use(batch.samples[i].request);
  }
  micro_batches_.pop_front();
  micro_batch_begun_ = false;
}

void Trainer::end_step(Time now) {
  version_ = WeightVersion(version_.value() + 1);
  step_.version = version_;
  step_.end = now;
  totals_.samples += step_.samples;
  in_step_ = false;
  host_.report(step_, trained_);
  store_.on_new_version(version_, config_.training.max_version_lag);
}

}  // namespace alchemist

#include "sim/node/micro_batch.h"

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/work.h"
#include "sim/policy/layer_times.h"

namespace alchemist {
namespace {

// Of a sample's tokens, each once, those that the parts of its records leave out.
void add_without_record(const Feedback& sample, std::span<const RecordedTokens> parts, TokenRuns& runs) {
  std::int32_t covered = 0;
  for (const RecordedTokens& part : parts) {
    runs.add(covered, part.first_token - covered);
    covered = part.first_token + part.tokens;
  }
  runs.add(covered, sample.prompt_tokens + sample.output_tokens - covered);
  for (std::int32_t i = 0; i < sample.other_answers; ++i) runs.add(sample.prompt_tokens, sample.other_answer_tokens);
}

// Tokens with a target stand in front of an answer's token.
std::int64_t targets_of(const RecordedTokens& part, const Feedback& sample) {
  const std::int32_t begin = std::max(part.first_token, sample.prompt_tokens - 1);
  const std::int32_t end = std::min(part.first_token + part.tokens, sample.prompt_tokens + sample.output_tokens - 1);
  return std::max(0, end - begin);
}

// As MicroBatch::version_changes. Tokens without a record are computed under the weights of now, and so are other
// answers, each of which stands behind a copy of the prompt.
class VersionChanges {
 public:
  void add(const Feedback& sample, std::span<const RecordedTokens> parts) {
    add_sequence(sample.prompt_tokens + sample.output_tokens, parts);
    for (std::int32_t i = 0; i < sample.other_answers; ++i) {
      add_sequence(sample.prompt_tokens, parts);
      add_rows(sample.other_answer_tokens, 0);
    }
  }
  std::int64_t count() const { return count_; }

 private:
  void add_sequence(std::int32_t tokens, std::span<const RecordedTokens> parts) {
    std::int32_t covered = 0;
    for (const RecordedTokens& part : parts) {
      const std::int32_t begin = std::min(part.first_token, tokens), end = std::min(begin + part.tokens, tokens);
      add_rows(begin - covered, 0);
      add_rows(end - begin, part.version_lag);
      covered = end;
    }
    add_rows(tokens - covered, 0);
  }
  void add_rows(std::int32_t rows, std::int32_t lag) {
    if (rows <= 0) return;
    if (last_ && *last_ != lag) ++count_;
    last_ = lag;
  }

  std::optional<std::int32_t> last_;
  std::int64_t count_ = 0;
};

// The same where each second of compute takes so many of the clock.
RestoreProblem at_pace(RestoreProblem problem, double pace) {
  LayerTimes& times = problem.times;
  for (double* compute :
       {&times.forward, &times.backward, &times.rebuild_gate_up, &times.head, &times.output, &problem.fresh_forward}) {
    *compute *= pace;
  }
  return problem;
}

}  // namespace

void MicroBatch::add(const Feedback& sample) {
  samples.push_back(sample);
  tokens += sample.tokens();
  targets += sample.answer_tokens();
  all.add(0, sample.prompt_tokens + sample.output_tokens);
  for (std::int32_t i = 0; i < sample.other_answers; ++i) all.add(0, sample.prompt_tokens + sample.other_answer_tokens);
  add_without_record(sample, {}, distinct);
  copies += static_cast<std::int64_t>(sample.other_answers) * sample.prompt_tokens;
}

void MicroBatch::acquire(ActivationStore& store, WeightVersion version, std::int32_t max_lag, RecordsOnHost on_host) {
  records.clear();
  recorded.clear();
  lags.clear();
  resident = host = lean = host_lean = dropped = samples_with_record = 0;
  resident_targets = resident_lean_targets = host_targets = host_lean_targets = 0;
  without_record.clear();
  not_resident.clear();
  recorded_keys = 0;
  std::int64_t served = 0;
  VersionChanges changes;
  for (const Feedback& sample : samples) {
    const Coverage coverage = store.acquire(sample, version, max_lag, on_host);
    resident += coverage.resident_tokens;
    host += coverage.host_tokens;
    lean += coverage.resident_lean + coverage.host_lean;
    host_lean += coverage.host_lean;
    dropped += coverage.dropped_tokens;
    records.insert(records.end(), coverage.records.begin(), coverage.records.end());
    served += sample.prompt_tokens + sample.output_tokens;
    std::vector<RecordedTokens> here = coverage.parts;
    std::erase_if(here, [](const RecordedTokens& part) { return part.on_host; });
    add_without_record(sample, coverage.parts, without_record);
    add_without_record(sample, here, not_resident);
    changes.add(sample, coverage.parts);
    for (RecordedTokens part : coverage.parts) {
      recorded_keys += attended_keys({part.tokens, part.first_token});
      const std::int64_t with_target = targets_of(part, sample);
      (part.on_host ? host_targets : resident_targets) += with_target;
      if (part.lean) (part.on_host ? host_lean_targets : resident_lean_targets) += with_target;
      part.sample = static_cast<std::int32_t>(lags.size());
      recorded.push_back(part);
    }
    lags.push_back(coverage.records.empty() ? std::nullopt : std::optional(coverage.version_lag));
    samples_with_record += coverage.records.empty() ? 0 : 1;
  }
  version_changes = changes.count();
  fresh = tokens - copies - restored();
  fresh_served = served - restored();
  check(fresh_served >= 0, "records hold no more than the sample");
  check(without_record.tokens() == fresh && not_resident.tokens() == fresh + host, "every token has its place");
}

void MicroBatch::reload_all() {
  recompute_below = 0;
  const double gate_up = host_lean < host ? 1 : 0;
  for (LayerPlan& layer : restore.layers) {
    if (layer.source == LayerSource::recompute) layer = {LayerSource::reload, gate_up};
  }
}

double MicroBatch::keys_of(const TrainingPiece& piece) const {
  const std::int64_t begin = piece.first_token, end = begin + piece.tokens;
  switch (piece.kind) {
    case PieceKind::kReference:
      return distinct.keys(begin, end);
    case PieceKind::kForward:
      return (piece.layer < recompute_below ? not_resident : without_record).keys(begin, end);
    case PieceKind::kBackward:
      return all.keys(tokens - end, tokens - begin);
    case PieceKind::kReferenceHead:
    case PieceKind::kHead:
    case PieceKind::kOptimizer:
      break;
  }
  return 0;
}

std::int64_t MicroBatch::version_changes_of(const TrainingPiece& piece) const {
  // Where forward runs fresh tokens alone, all have the weights of now.
  const bool has_recorded =
      piece.kind == PieceKind::kBackward || (piece.kind == PieceKind::kForward && piece.layer < recompute_below);
  return has_recorded ? version_changes : 0;
}

std::int64_t MicroBatch::recorded_targets(std::int32_t layers) const {
  return resident_targets + (recompute_below < layers ? host_targets : 0);
}

std::int64_t MicroBatch::rebuilt_targets(std::int32_t layers) const {
  return resident_lean_targets + (recompute_below < layers ? host_lean_targets : 0);
}

std::int64_t MicroBatch::rebuilt_tokens(std::int32_t layer) const {
  const std::int64_t resident_lean = lean - host_lean;
  if (host == 0 || layer < recompute_below) return resident_lean;
  const double left = 1 - restore.layers[static_cast<std::size_t>(layer)].gate_up_share;
  return lean + static_cast<std::int64_t>(static_cast<double>(host - host_lean) * left);
}

void plan_restore(MicroBatch& batch, std::int32_t layers, const TokenBytes& bytes, bool reference,
                  const RestorePace& pace, Policy& policy, const Estimator& estimator) {
  batch.recompute_below = 0;
  if (batch.host == 0) return;
  const std::int64_t recorded = batch.resident + batch.host;
  const RestoreDemand demand{.layers = layers,
                             .tokens = batch.tokens,
                             .targets = batch.targets,
                             .attended_keys = batch.all.keys(),
                             .recorded = recorded,
                             .recorded_keys = batch.recorded_keys,
                             .lean = batch.lean,
                             .recorded_targets = batch.resident_targets + batch.host_targets,
                             .lean_targets = batch.resident_lean_targets + batch.host_lean_targets,
                             .lean_per_token = bytes.lean,
                             .minimal_per_token = bytes.minimal};
  RestoreProblem problem(layer_times(demand, estimator));
  for (double* copy : {&problem.times.reload_full, &problem.times.reload_lean}) *copy *= pace.link;
  const double absent = static_cast<double>(batch.host) / static_cast<double>(recorded);
  for (LayerRecord& record : problem.records) record.absent_share = absent;
  problem.gate_up_recorded = batch.lean < recorded;
  const auto forward_seconds = [&](PieceKind kind, std::int64_t tokens) {
    TrainingPiece forward;
    forward.kind = kind;
    forward.tokens = tokens;
    forward.attended_keys = batch.keys_of(forward);
    return estimator.piece(forward).in_seconds();
  };
  if (batch.fresh > 0) {
    problem.fresh_forward += forward_seconds(PieceKind::kForward, batch.fresh);
    const Bytes keys((bytes.keys_and_values * batch.host).count() / layers);
    problem.fresh_keys = pace.link * estimator.copy(LinkDirection::kHostToDevice, keys).in_seconds();
  }
  if (reference) problem.fresh_forward += forward_seconds(PieceKind::kReference, batch.distinct.tokens());
  std::vector<RestoreProblem> outlook;
  for (const double compute : pace.compute) outlook.push_back(at_pace(problem, compute));
  batch.restore = policy.restore ? policy.restore->choose(outlook) : reload_all(problem);
  while (batch.recompute_below < layers &&
         batch.restore.layers[static_cast<std::size_t>(batch.recompute_below)].source == LayerSource::recompute) {
    ++batch.recompute_below;
  }
}

Bytes record_reload_bytes(const MicroBatch& batch, std::int32_t layer, std::int32_t layers, const TokenBytes& bytes) {
  if (!batch.reloads(layer)) return Bytes();
  const double share = batch.restore.layers[static_cast<std::size_t>(layer)].gate_up_share;
  const std::int64_t full = batch.host - batch.host_lean;
  const double all = (bytes.lean * batch.host).as_double() + ((bytes.minimal - bytes.lean) * full).as_double() * share;
  return Bytes(static_cast<std::int64_t>(all / layers));
}

}  // namespace alchemist

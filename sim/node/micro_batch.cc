#include "sim/node/micro_batch.h"

#include "sim/base/check.h"
#include "sim/policy/layer_times.h"

namespace alchemist {

void MicroBatch::add(const Feedback& sample) {
  const std::int64_t size = sample.prompt_tokens + sample.output_tokens;
  samples.push_back(sample);
  tokens += size;
  keys += static_cast<double>(size) * (static_cast<double>(size) + 1) / 2;
}

void MicroBatch::acquire(ActivationStore& store, WeightVersion version, std::int32_t max_lag) {
  records.clear();
  recorded.clear();
  lags.clear();
  resident = host = lean = host_lean = dropped = 0;
  for (const Feedback& sample : samples) {
    const Coverage coverage = store.acquire(sample, version, max_lag);
    resident += coverage.resident_tokens;
    host += coverage.host_tokens;
    lean += coverage.resident_lean + coverage.host_lean;
    host_lean += coverage.host_lean;
    dropped += coverage.dropped_tokens;
    records.insert(records.end(), coverage.records.begin(), coverage.records.end());
    for (RecordedTokens part : coverage.parts) {
      part.sample = static_cast<std::int32_t>(lags.size());
      recorded.push_back(part);
    }
    lags.push_back(coverage.version_lag);
  }
  fresh = tokens - resident - host;
  check(fresh >= 0, "records hold no more than the sample");
}

std::int64_t MicroBatch::rebuilt_tokens(std::int32_t layer) const {
  const std::int64_t resident_lean = lean - host_lean;
  if (host == 0 || layer < recompute_below) return resident_lean;
  const double left = 1 - restore.layers[static_cast<std::size_t>(layer)].gate_up_share;
  return lean + static_cast<std::int64_t>(static_cast<double>(host - host_lean) * left);
}

void plan_restore(MicroBatch& batch, std::int32_t layers, const TokenBytes& bytes, Policy& policy,
                  const Estimator& estimator) {
  batch.recompute_below = 0;
  if (batch.host == 0) return;
  const std::int64_t recorded = batch.resident + batch.host;
  const RestoreDemand demand{layers, batch.tokens, batch.keys, recorded, batch.lean, bytes.lean, bytes.minimal};
  RestoreProblem problem(layer_times(demand, estimator));
  const double absent = static_cast<double>(batch.host) / static_cast<double>(recorded);
  for (LayerRecord& record : problem.records) record.absent_share = absent;
  problem.gate_up_recorded = batch.lean < recorded;
  if (batch.fresh > 0) {
    TrainingPiece forward;
    forward.kind = PieceKind::kForward;
    forward.tokens = batch.fresh;
    forward.attended_keys = batch.keys_of(batch.fresh);
    problem.fresh_forward = estimator.piece(forward).in_seconds();
  }
  batch.restore = policy.restore ? policy.restore->choose(problem) : reload_all(problem);
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

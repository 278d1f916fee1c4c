#include "sim/model/decode_attention.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "sim/base/check.h"

namespace alchemist {
namespace {

constexpr std::int32_t kKeysOfABlockStep = 128;  // keys that FlashAttention-2's decode reads at a time at head_dim 128
constexpr std::int32_t kMaxSplits = 128;         // its own limit
constexpr double kGoodEnough = 0.85;             // it takes the fewest splits that reach this share of the best

std::int32_t ceil_divide(std::int32_t a, std::int32_t b) { return (a + b - 1) / b; }

}  // namespace

DecodeAttention::DecodeAttention(const KernelProfile& profile, const Kernel& kernel) : kernel_(kernel) {
  check(kernel.processors > 0 && kernel.blocks_per_processor > 0 && kernel.kv_heads > 0, "the kernel is described");
  slots_ = static_cast<double>(kernel.processors) * kernel.blocks_per_processor;
  const std::vector<double>& sequences = profile.decode.axis(0);
  const std::vector<double>& contexts = profile.decode.axis(1);
  launch_us_ = profile.decode.at({sequences.front(), contexts.front()});
  const double n = sequences.back(), longest = contexts.back(), shorter = contexts[contexts.size() - 2];
  rate_ =
      kernel.kv_heads * n * (longest - shorter) / (profile.decode.at({n, longest}) - profile.decode.at({n, shorter}));

  // From 0.8 * 2 SMs of work items on, nothing is split.
  const auto never_split = static_cast<std::int32_t>(std::ceil(1.6 * kernel.processors / kernel.kv_heads));
  for (std::int32_t s = 0; s <= never_split; ++s) split_.push_back(s > 0 && splits(s) > 1);

  struct Fit {
    double owed_squared = 0;
    double owed_times_extra = 0;
  };
  std::map<std::int32_t, Fit> fits;
  for (const UnevenBatch& batch : profile.uneven) {
    const double owed =
        owed_tokens(batch.decodes, batch.decodes, static_cast<double>(batch.context_sum), batch.context_max);
    if (owed <= 0) continue;
    fits[batch.decodes].owed_squared += owed * owed;
    fits[batch.decodes].owed_times_extra += owed * batch.extra_us;
  }
  std::vector<std::pair<double, double>> rates;
  for (const auto& [decodes, fit] : fits) {
    if (fit.owed_times_extra > 0) rates.emplace_back(decodes, fit.owed_squared / fit.owed_times_extra);
  }
  knows_alone_rate_ = !rates.empty();
  if (knows_alone_rate_) alone_rate_ = PointSeries(rates);
}

double DecodeAttention::at(std::int32_t decodes, std::int32_t launched, std::int64_t context_sum,
                           std::int32_t context_max) const {
  const auto sum = static_cast<double>(context_sum);
  double us = launch_us_ + sum * kernel_.kv_heads / rate_;
  if (!knows_alone_rate_) return us;
  const double owed = owed_tokens(decodes, launched, sum, context_max);
  if (owed > 0) us += owed / alone_rate_.at(std::min<double>(decodes, alone_rate_.last_x()));
  return us;
}

// Tokens that the longest context's block of the last head still has to read when all others are done.
double DecodeAttention::owed_tokens(std::int32_t decodes, std::int32_t launched, double context_sum,
                                    double context_max) const {
  if (decodes < 2) return 0;
  if (launched < static_cast<std::int32_t>(split_.size()) && split_[static_cast<std::size_t>(launched)]) return 0;
  const double heads = kernel_.kv_heads;
  const double all_us = context_sum * heads / rate_;
  const double before = std::max(0.0, (heads - 1) * decodes - slots_);  // blocks to be through before it can begin
  const double start_us = all_us * before / (heads * decodes);
  return std::max(0.0, context_max - (all_us - start_us) * rate_ / slots_);
}

// num_splits_heuristic of FlashAttention-2, which is called with twice the number of SMs.
std::int32_t DecodeAttention::splits(std::int32_t sequences) const {
  const std::int32_t work = sequences * kernel_.kv_heads;
  const std::int32_t places = 2 * kernel_.processors;
  if (work >= 0.8 * places) return 1;
  const std::int32_t steps = ceil_divide(std::max(kernel_.max_context, 1), kKeysOfABlockStep);
  const std::int32_t most = std::min({kMaxSplits, places, steps});
  const auto efficiency = [&](std::int32_t s) {
    // A count that gives no block fewer steps than one less is not considered.
    if (s > 1 && ceil_divide(steps, s) == ceil_divide(steps, s - 1)) return 0.0;
    const double waves = static_cast<double>(work) * s / places;
    return waves / std::ceil(waves);
  };
  double best = 0;
  for (std::int32_t s = 1; s <= most; ++s) best = std::max(best, efficiency(s));
  for (std::int32_t s = 1; s <= most; ++s) {
    if (efficiency(s) >= kGoodEnough * best) return s;
  }
  return 1;
}

}  // namespace alchemist

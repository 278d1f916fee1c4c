// What is trained on served requests, and when their feedback comes.
#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "sim/base/distribution.h"
#include "sim/base/training_kind.h"

namespace alchemist {

struct FeedbackConfig {
  double share = 0.3;  // of served requests become training samples, 0..1
  DurationDistribution delay{
      .kind = DurationDistribution::Kind::exponential, .mean = Duration::seconds(60), .low = {}, .high = {}};

  bool operator==(const FeedbackConfig&) const = default;
};

struct TrainingConfig {
  TrainingMethod method = TrainingMethod::lora;
  std::int32_t lora_rank = 16;
  std::set<LinearModule> lora_modules = all_linear_modules();  // with an adapter; at least one
  TrainingObjective objective = TrainingObjective::sft;
  bool reference_model = true;       // dpo, grpo: a frozen model's log-probabilities of the answers enter the loss
  std::int32_t group_size = 8;       // grpo: answers to one prompt, the served one among them
  std::int64_t batch_tokens = 8192;  // of one step, for each replica that trains, gathered over samples
  FeedbackConfig feedback;
  std::int32_t max_version_lag = 1;  // weight versions by which a record may be older than the weights it trains
  BackwardWeights backward = BackwardWeights::kCurrent;  // recorded: lora alone
  bool sequence_parallel = false;  // of what all GPUs of a replica hold whole, each keeps its part for backward
  // Longest gap between two tokens of an answer that training beside decode steps may cause. None: it hides, below what
  // serving's own longer steps do to the gaps.
  std::optional<Duration> max_itl;

  std::int32_t other_answers() const {
    if (objective == TrainingObjective::grpo) return group_size - 1;
    return objective == TrainingObjective::dpo ? 1 : 0;
  }
  bool uses_reference() const { return objective != TrainingObjective::sft && reference_model; }

  bool operator==(const TrainingConfig&) const = default;
};

}  // namespace alchemist

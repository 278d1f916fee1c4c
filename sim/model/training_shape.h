// What is trained and by which objective, as far as FLOPs, bytes and token counts depend on it.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "sim/base/training_kind.h"

namespace alchemist {

// "q", "k", "v", "o", "gate", "up", "down".
std::string_view module_name(LinearModule module);
// The reverse; none for an unknown name.
std::optional<LinearModule> parse_module(std::string_view name);

struct TrainingShape {
  TrainingMethod method = TrainingMethod::lora;
  std::int64_t lora_rank = 16;                                 // >= 1
  std::set<LinearModule> lora_modules = all_linear_modules();  // with an adapter
  TrainingObjective objective = TrainingObjective::sft;
  bool reference_model = true;  // dpo, grpo: log-probabilities of a frozen model are computed by a second forward
  std::int64_t group_size = 8;  // grpo: answers to one prompt
  // What is kept for backward of tensors that all GPUs of a replica hold whole, each keeps its part of, and backward
  // gathers them (the sequence parallelism of Korthikanti et al., "Reducing Activation Recomputation in Large
  // Transformer Models", 2022, section 4.2, as far as memory goes: norms stay whole).
  bool sequence_parallel = false;
  bool input_gradient = true;  // false in the first layer when nothing below it is trained (LoRA)
};

// Sequences that one training sample runs through the model, in tokens.
struct ObjectiveTokens {
  std::vector<std::int64_t> sequences;  // each is run forward and backward by the trained model
  std::int64_t forward = 0;             // sum of the sequences: the trained model's forward
  std::int64_t backward = 0;            // tokens of the backward: the same
  std::int64_t reference_forward = 0;   // tokens of the frozen model's forward
  std::int64_t prompt_repeats = 0;      // of `forward`: tokens that repeat a prompt another sequence holds already

  // Forward passes for each backward pass: 1, or 2 with a reference model.
  double forward_passes() const {
    return backward == 0 ? 0 : static_cast<double>(forward + reference_forward) / static_cast<double>(backward);
  }
};

// sft: one answer. dpo: two answers, chosen and rejected, each behind a copy of the prompt (Rafailov et al. 2023).
// grpo: group_size answers, each behind a copy of the prompt; the old policy's log-probabilities are those of serving's
// own sampling and cost nothing (Shao et al. 2024). Serving's record of the prompt holds for every copy, since the
// copies' activations are equal. Precondition: prompt_tokens >= 0, the objective's number of answers, each >= 1.
ObjectiveTokens objective_tokens(const TrainingShape& training, std::int64_t prompt_tokens,
                                 const std::vector<std::int64_t>& answer_tokens);

// Answers in one sample: 1, 2 or group_size.
std::int64_t answers_per_sample(const TrainingShape& training);

}  // namespace alchemist

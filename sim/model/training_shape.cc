#include "sim/model/training_shape.h"

#include <array>

#include "sim/base/check.h"

namespace alchemist {
namespace {

constexpr std::array<std::string_view, 7> kModuleNames{"q", "k", "v", "o", "gate", "up", "down"};
}  // namespace

std::string_view module_name(LinearModule module) { return kModuleNames[static_cast<std::size_t>(module)]; }

std::optional<LinearModule> parse_module(std::string_view name) {
  for (const LinearModule module : kLinearModules) {
    if (module_name(module) == name) return module;
  }
  return std::nullopt;
}

std::int64_t answers_per_sample(const TrainingShape& training) {
  switch (training.objective) {
    case TrainingObjective::sft:
      return 1;
    case TrainingObjective::dpo:
      return 2;
    case TrainingObjective::grpo:
      return training.group_size;
  }
  return 1;
}

ObjectiveTokens objective_tokens(const TrainingShape& training, std::int64_t prompt_tokens,
                                 const std::vector<std::int64_t>& answer_tokens) {
  check(prompt_tokens >= 0, "a prompt's tokens are >= 0");
  check(static_cast<std::int64_t>(answer_tokens.size()) == answers_per_sample(training),
        "a sample has its objective's number of answers");
  ObjectiveTokens result;
  for (const std::int64_t answer : answer_tokens) {
    check(answer >= 1, "an answer has at least one token");
    result.sequences.push_back(prompt_tokens + answer);
    result.forward += prompt_tokens + answer;
  }
  result.backward = result.forward;
  result.prompt_repeats = prompt_tokens * (static_cast<std::int64_t>(answer_tokens.size()) - 1);
  const bool has_reference = training.reference_model && training.objective != TrainingObjective::sft;
  result.reference_forward = has_reference ? result.forward : 0;
  return result;
}

}  // namespace alchemist

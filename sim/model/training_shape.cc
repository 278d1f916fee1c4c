#include "sim/model/training_shape.h"

#include <array>

#include "sim/base/check.h"

namespace alchemist {
namespace {

constexpr std::array<std::string_view, 7> kModuleNames{"q", "k", "v", "o", "gate", "up", "down"};
constexpr std::array<std::string_view, 2> kMethodNames{"full", "lora"};
constexpr std::array<std::string_view, 3> kObjectiveNames{"sft", "dpo", "grpo"};

template <class Enum, std::size_t N>
std::optional<Enum> parse(const std::array<std::string_view, N>& names, std::string_view name) {
  for (std::size_t i = 0; i < N; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace

std::string_view module_name(LinearModule module) { return kModuleNames[static_cast<std::size_t>(module)]; }
std::string_view method_name(TrainingMethod method) { return kMethodNames[static_cast<std::size_t>(method)]; }
std::string_view objective_name(Objective objective) { return kObjectiveNames[static_cast<std::size_t>(objective)]; }

std::optional<LinearModule> parse_module(std::string_view name) { return parse<LinearModule>(kModuleNames, name); }
std::optional<TrainingMethod> parse_method(std::string_view name) { return parse<TrainingMethod>(kMethodNames, name); }
std::optional<Objective> parse_objective(std::string_view name) { return parse<Objective>(kObjectiveNames, name); }

std::int64_t answers_per_sample(const TrainingShape& training) {
  switch (training.objective) {
    case Objective::kSft:
      return 1;
    case Objective::kDpo:
      return 2;
    case Objective::kGrpo:
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
  const bool has_reference = training.reference_model && training.objective != Objective::kSft;
  result.reference_forward = has_reference ? result.forward : 0;
  return result;
}

}  // namespace alchemist

// Words of the experiment's enumerations, for reading and writing alike.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sim/app/yaml_reader.h"
#include "sim/model/training_shape.h"
#include "sim/node/router.h"
#include "sim/node/training_config.h"
#include "sim/policy/decisions.h"

namespace alchemist {

template <class Enum>
using EnumWords = std::vector<std::pair<std::string, Enum>>;

inline EnumWords<TrainingMethod> training_methods() {
  return {{"lora", TrainingMethod::lora}, {"full", TrainingMethod::full}};
}
inline EnumWords<TrainingObjective> training_objectives() {
  return {{"sft", TrainingObjective::sft}, {"dpo", TrainingObjective::dpo}, {"grpo", TrainingObjective::grpo}};
}
inline EnumWords<BackwardWeights> backward_weights() {
  return {{"current", BackwardWeights::kCurrent}, {"recorded", BackwardWeights::kRecorded}};
}
inline EnumWords<LinearModule> linear_modules() {
  EnumWords<LinearModule> words;
  for (const LinearModule module : kLinearModules) words.emplace_back(module_name(module), module);
  return words;
}
inline EnumWords<Routing> routings() {
  EnumWords<Routing> words;
  for (const auto& [name, routing] : kRoutings) words.emplace_back(name, routing);
  return words;
}
inline EnumWords<FreshActivations> fresh_activations() {
  return {{"keep", FreshActivations::kKeep},
          {"checkpoint", FreshActivations::kCheckpoint},
          {"offload", FreshActivations::kOffload},
          {"spill", FreshActivations::kSpill}};
}
inline EnumWords<SampleOrder> sample_orders() {
  return {{"oldest", SampleOrder::kOldest}, {"recorded", SampleOrder::kRecorded}};
}

// ConfigError that lists the words and the nearest if the text is none of them.
template <class Enum>
Enum read_word(const YamlValue& value, const EnumWords<Enum>& words) {
  const std::string text = value.as_string();
  std::vector<std::string> known;
  std::string list;
  for (const auto& [word, meaning] : words) {
    if (word == text) return meaning;
    known.push_back(word);
    list += (list.empty() ? "" : ", ") + word;
  }
  const std::optional<std::string> near = nearest_name(text, known);
  value.fail("expected one of " + list + ", got \"" + text + "\"" + (near ? "; did you mean \"" + *near + "\"?" : ""));
}

template <class Enum>
std::string word_of(Enum meaning, const EnumWords<Enum>& words) {
  for (const auto& [word, candidate] : words) {
    if (candidate == meaning) return word;
  }
  return {};
}

}  // namespace alchemist

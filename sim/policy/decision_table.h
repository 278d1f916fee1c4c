// One decision's choices: what each is called, what it does, and how it is made. A file of decisions ends with its
// table.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "sim/base/check.h"
#include "sim/policy/decision_registry.h"

namespace alchemist {

template <class Decision>
struct DecisionChoice {
  DecisionName name;
  std::unique_ptr<Decision> (*make)();
};

// The choice of the null pointer.
template <class Decision>
std::unique_ptr<Decision> no_decision() {
  return nullptr;
}

template <class Decision, class Choice, auto... arguments>
std::unique_ptr<Decision> make_choice() {
  return std::make_unique<Choice>(arguments...);
}

template <class Decision>
std::vector<DecisionName> names_of(std::span<const DecisionChoice<Decision>> choices) {
  std::vector<DecisionName> names;
  for (const DecisionChoice<Decision>& choice : choices) names.push_back(choice.name);
  return names;
}

// Precondition: `name` is among them.
template <class Decision>
std::unique_ptr<Decision> make_named(std::span<const DecisionChoice<Decision>> choices, std::string_view name) {
  const auto found = std::ranges::find(choices, name, [](const auto& choice) { return choice.name.name; });
  check(found != choices.end(), "a decision that is listed");
  return found->make();
}

}  // namespace alchemist

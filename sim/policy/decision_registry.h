// The decisions that ship, by the names that policy files use.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/policy/decisions.h"

namespace alchemist {

struct DecisionName {
  std::string_view name;
  std::string_view meaning;
};

// Choices of one decision, in the order in which they are listed to people.
const std::vector<DecisionName>& record_decisions();
const std::vector<DecisionName>& place_decisions();
const std::vector<DecisionName>& evict_decisions();
const std::vector<DecisionName>& restore_decisions();
const std::vector<DecisionName>& train_decisions();

// Precondition: `name` is among the names above. "none" is the null pointer.
std::unique_ptr<RecordDecision> make_record_decision(std::string_view name);
std::unique_ptr<PlaceDecision> make_place_decision(std::string_view name);
std::unique_ptr<EvictDecision> make_evict_decision(std::string_view name);
std::unique_ptr<RestoreDecision> make_restore_decision(std::string_view name);
std::unique_ptr<TrainDecision> make_train_decision(std::string_view name);

}  // namespace alchemist

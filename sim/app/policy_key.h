// The keys of a policy's file, each in one place: how it is read, how it is written, and what it means to people. What
// reads, writes and describes policies goes through these tables.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "sim/app/policy_config.h"
#include "sim/policy/decision_registry.h"

namespace alchemist {

// One of the five decisions.
struct DecisionKey {
  const char* name;
  std::string PolicySpec::*choice;
  const std::vector<DecisionName>& (*choices)();
  void (*make)(const PolicySpec& spec, Policy& policy);
};

// Any other key but `base`, `name` and `description`.
struct PolicyKey {
  // All of it has to be said, which an aggregate would not ask for.
  constexpr PolicyKey(const char* key, void (*reader)(YamlValue, PolicySpec&), YAML::Node (*writer)(const PolicySpec&),
                      std::string (*teller)(const PolicySpec&))
      : name(key), read(reader), write(writer), tell(teller) {}

  const char* name;
  void (*read)(YamlValue value, PolicySpec& spec);  // the decisions were read before
  YAML::Node (*write)(const PolicySpec& spec);      // null: this policy goes without it
  std::string (*tell)(const PolicySpec& spec);      // a line; empty: it is of no account to this policy
};

// In the order in which they are written.
std::span<const DecisionKey> decision_keys();
std::span<const PolicyKey> other_policy_keys();

}  // namespace alchemist

// Writes a policy back to YAML.
#include "sim/app/policy_config.h"
#include "sim/app/policy_key.h"

namespace alchemist {

std::string policy_keys(const PolicySpec& spec) {
  YAML::Node keys(YAML::NodeType::Map);
  keys["description"] = spec.description;
  for (const DecisionKey& key : decision_keys()) keys[key.name] = spec.*key.choice;
  for (const PolicyKey& key : other_policy_keys()) {
    if (const YAML::Node value = key.write(spec); !value.IsNull()) keys[key.name] = value;
  }
  return flow_text(keys);
}

void emit_policy(YAML::Emitter& out, const PolicyChoice& policy) {
  const std::string usual_name = policy.base.empty() ? kInlinePolicy : policy.base;
  if (policy.keys.empty() && policy.name == usual_name) {
    out << policy.base;
    return;
  }
  out << YAML::BeginMap;
  if (policy.name != usual_name) out << YAML::Key << "name" << YAML::Value << policy.name;
  if (!policy.base.empty()) out << YAML::Key << "base" << YAML::Value << policy.base;
  if (!policy.keys.empty()) {
    for (const auto& entry : YAML::Load(policy.keys)) out << YAML::Key << entry.first << YAML::Value << entry.second;
  }
  out << YAML::EndMap;
}

}  // namespace alchemist

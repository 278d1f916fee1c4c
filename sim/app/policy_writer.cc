// Writes a policy back to YAML.
#include "sim/app/distribution_config.h"
#include "sim/app/experiment_names.h"
#include "sim/app/policy_config.h"

namespace alchemist {

std::string policy_keys(const PolicySpec& spec) {
  YAML::Node keys(YAML::NodeType::Map);
  keys["description"] = spec.description;
  keys["record"] = spec.record;
  keys["place"] = spec.place;
  keys["evict"] = spec.evict;
  keys["restore"] = spec.restore;
  keys["train"] = spec.train;
  keys["separate"] = spec.separate;
  keys["fresh"] = word_of(spec.fresh, fresh_activations());
  keys["samples"] = word_of(spec.samples, sample_orders());
  if (spec.beside()) keys["sm_share"] = format_number(spec.sm_share);
  keys["stretch"] = format_number(spec.stretch);
  keys["gpu_record_share"] = format_number(spec.gpu_record_share);
  keys["spare_memory"] = spec.spare_memory;
  keys["host_record_share"] = format_number(spec.host_record_share);
  keys["record_answers"] = spec.record_answers;
  if (spec.keep_for != PolicySpec().keep_for) keys["keep_for"] = format_duration(spec.keep_for);
  keys["micro_batch_tokens"] = "auto";
  if (spec.micro_batch_tokens) keys["micro_batch_tokens"] = *spec.micro_batch_tokens;
  keys["window_layers"] = spec.window_layers;
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

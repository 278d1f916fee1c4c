#include "sim/app/policy_config.h"

#include <fmt/format.h>

#include "sim/app/config_paths.h"
#include "sim/app/policy_key.h"
#include "sim/policy/decision_registry.h"

namespace alchemist {
namespace {

std::string read_decision(const YamlValue& value, const std::vector<DecisionName>& choices) {
  const std::string text = value.as_string();
  std::string list;
  std::vector<std::string> names;
  for (const DecisionName& choice : choices) {
    if (choice.name == text) return text;
    names.emplace_back(choice.name);
    list += (list.empty() ? "" : ", ") + names.back();
  }
  const auto near = nearest_name(text, names);
  value.fail("expected one of " + list + ", got \"" + text + "\"" + (near ? "; did you mean \"" + *near + "\"?" : ""));
}

void check_combination(const PolicySpec& spec, const YamlValue& value) {
  const bool places = spec.place != "none", evicts = spec.evict != "none";
  if (spec.records() != places || spec.records() != evicts) {
    value.fail("record, place and evict go together: all none, or none of them none");
  }
  if (spec.records_on_host() && spec.restore == "none") {
    value.fail("place: " + spec.place + " copies records to the host, and restore: none never brings them back");
  }
  if (!spec.records() && spec.restore != "none") {
    value.fail("restore: " + spec.restore + " is of records, but record is none");
  }
  if (spec.records() && !spec.trains()) value.fail("records that nobody trains on: train is none");
  if (spec.record_answers && !spec.records()) {
    value.fail("record_answers: true goes with a recorded prompt, but record is none");
  }
  if (spec.spare_memory && !spec.records()) {
    value.fail("spare_memory: true is memory for records, but record is none");
  }
  if (spec.beside() && spec.separate) value.fail("train: beside shares the SMs with serving, but separate is true");
  if (spec.records() && spec.separate) value.fail("a separate training cluster cannot reach serving's records");
}

// `spec`: the base, if there is one.
PolicySpec read_keys(YamlMap& map, bool has_base, PolicySpec spec) {
  for (const DecisionKey& key : decision_keys()) {
    const auto value = has_base ? map.optional(key.name) : map.required(key.name);
    if (value) spec.*key.choice = read_decision(*value, key.choices());
  }
  constexpr double kNoShare = PolicySpec().sm_share;
  if (!spec.beside()) spec.sm_share = kNoShare;  // of a base that was
  for (const PolicyKey& key : other_policy_keys()) {
    if (const auto value = map.optional(key.name)) key.read(*value, spec);
  }
  if (spec.beside() && spec.sm_share == kNoShare) {
    map.value().fail("train: beside needs the key sm_share, training's share of the SMs");
  }
  map.finish();
  check_combination(spec, map.value());
  return spec;
}

PolicySpec read_file(const std::filesystem::path& path, int depth = kMostBases) {
  YamlMap map(YamlValue::load(path.string()));
  const std::optional<YamlValue> base = map.optional("base");
  PolicySpec spec;
  if (base) spec = read_file(resolve_named("policies", *base), depth_below(*base, depth));
  spec.name = path.stem().string();
  const std::optional<YamlValue> text = base ? map.optional("description") : map.required("description");
  if (text) spec.description = text->as_string();
  return read_keys(map, base.has_value(), spec);
}

PolicySpec read_mapping(const YamlValue& value) {
  YamlMap map(value);
  const std::optional<YamlValue> base = map.optional("base");
  PolicySpec spec;
  spec.name = kInlinePolicy;
  if (base) spec = read_file(resolve_named("policies", *base));
  if (const auto name = map.optional("name")) spec.name = name->as_name();
  if (const auto text = map.optional("description")) spec.description = text->as_string();
  return read_keys(map, base.has_value(), spec);
}

}  // namespace

bool PolicySpec::beside() const {
  const auto decision = make_train_decision(train);
  return decision && decision->beside_serving();
}

bool PolicySpec::heeds_max_itl() const {
  const auto decision = make_train_decision(train);
  return decision && decision->heeds_max_itl();
}

bool PolicySpec::records_on_host() const {
  const auto decision = make_place_decision(place);
  return decision && decision->uses_host();
}

bool PolicySpec::clairvoyant() const {
  const auto records = make_record_decision(record);
  const auto evicts = make_evict_decision(evict);
  return (records && records->clairvoyant()) || (evicts && evicts->clairvoyant());
}

PolicyChoice read_policy(const YamlValue& value) {
  const bool mapping = value.is_map();
  const std::optional<YamlValue> base = mapping ? YamlMap(value).optional("base") : std::optional(value);
  const PolicySpec spec = mapping ? read_mapping(value) : read_file(resolve_named("policies", value));
  if (base && names_a_path(base->as_string())) {
    const bool named = mapping && value.node()["name"];
    const std::string file = std::filesystem::absolute(resolve_path(*base)).lexically_normal().string();
    return {named ? spec.name : file, "", policy_keys(spec)};
  }
  PolicyChoice choice{spec.name, base ? base->as_string() : "", ""};
  if (!mapping) return choice;
  YamlMap map(value);
  YAML::Node keys(YAML::NodeType::Map);
  for (const std::string& key : map.keys()) {
    if (key != "base" && key != "name") keys[key] = map.required(key).node();
  }
  if (keys.size() > 0) choice.keys = flow_text(keys);
  return choice;
}

PolicySpec load_policy(const std::string& name_or_path) {
  return read_file(resolve_config("policies", name_or_path, {}));
}

PolicySpec load_policy(const PolicyChoice& policy) {
  YAML::Emitter out;
  emit_policy(out, policy);
  const YamlValue value = YamlValue::parse(out.c_str(), "policy");
  return value.is_map() ? read_mapping(value) : load_policy(value.as_string());
}

Policy make_policy(const PolicySpec& spec) {
  Policy policy;
  static_cast<PolicyParameters&>(policy) = spec;
  for (const DecisionKey& key : decision_keys()) key.make(spec, policy);
  return policy;
}

std::string describe_policy(const PolicySpec& spec) {
  std::string text = fmt::format("{}: {}\n\n", spec.name, spec.description);
  for (const DecisionKey& key : decision_keys()) {
    for (const DecisionName& choice : key.choices()) {
      if (choice.name != spec.*key.choice) continue;
      text += fmt::format("  {:<8} {:<11} {}\n", key.name, choice.name, choice.meaning);
    }
  }
  text += '\n';
  for (const PolicyKey& key : other_policy_keys()) {
    if (const std::string line = key.tell(spec); !line.empty()) text += fmt::format("  {}\n", line);
  }
  return text;
}

}  // namespace alchemist

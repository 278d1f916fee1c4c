#include "sim/app/policy_config.h"

#include <fmt/format.h>

#include "sim/app/config_paths.h"
#include "sim/app/distribution_config.h"
#include "sim/app/experiment_names.h"
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

const char* fresh_meaning(FreshActivations fresh) {
  switch (fresh) {
    case FreshActivations::kKeep:
      return "stay on the GPU until backward";
    case FreshActivations::kCheckpoint:
      return "are computed anew in backward, from each layer's input";
    case FreshActivations::kOffload:
      return "go to the host and come back";
    case FreshActivations::kSpill:
      return "go to the host and come back, where serving would miss the memory for them and the link keeps up";
  }
  return "";
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

// Each from the mapping, or as the base has it.
void read_decisions(YamlMap& map, bool has_base, PolicySpec& spec) {
  const auto read = [&](const char* key, const std::vector<DecisionName>& choices, std::string& decision) {
    const auto value = has_base ? map.optional(key) : map.required(key);
    if (value) decision = read_decision(*value, choices);
  };
  read("record", record_decisions(), spec.record);
  read("place", place_decisions(), spec.place);
  read("evict", evict_decisions(), spec.evict);
  read("restore", restore_decisions(), spec.restore);
  read("train", train_decisions(), spec.train);
}

void read_sm_share(YamlMap& map, PolicySpec& spec) {
  if (!spec.beside()) spec.sm_share = PolicySpec().sm_share;
  if (const auto value = map.optional("sm_share")) {
    spec.sm_share = value->as_number(0.01, 0.99);
    if (!spec.beside()) value->fail("is for train: beside, which shares the SMs");
  } else if (spec.beside() && spec.sm_share == PolicySpec().sm_share) {
    map.value().fail("train: beside needs the key sm_share, training's share of the SMs");
  }
}

// `spec`: the base, if there is one.
PolicySpec read_keys(YamlMap& map, bool has_base, PolicySpec spec) {
  read_decisions(map, has_base, spec);
  if (const auto value = map.optional("separate")) spec.separate = value->as_bool();
  if (const auto value = map.optional("fresh")) spec.fresh = read_word(*value, fresh_activations());
  if (const auto value = map.optional("samples")) spec.samples = read_word(*value, sample_orders());
  if (const auto value = map.optional("window_layers")) {
    spec.window_layers = static_cast<std::int32_t>(value->as_int(1, 1 << 16));
  }
  if (const auto value = map.optional("stretch")) spec.stretch = value->as_number(0, 100);
  read_sm_share(map, spec);
  if (const auto value = map.optional("gpu_record_share")) spec.gpu_record_share = value->as_number(0, 1);
  if (const auto value = map.optional("spare_memory")) spec.spare_memory = value->as_bool();
  if (const auto value = map.optional("host_record_share")) spec.host_record_share = value->as_number(0, 1);
  if (const auto value = map.optional("record_answers")) spec.record_answers = value->as_bool();
  if (const auto value = map.optional("keep_for")) spec.keep_for = value->as_duration();
  if (auto value = map.optional("micro_batch_tokens")) {
    spec.micro_batch_tokens.reset();
    if (!value->is("auto")) spec.micro_batch_tokens = value->as_int(1, 1 << 24);
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
  if (const auto name = map.optional("name")) spec.name = name->as_string();
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
  policy.record = make_record_decision(spec.record);
  policy.place = make_place_decision(spec.place);
  policy.evict = make_evict_decision(spec.evict);
  policy.restore = make_restore_decision(spec.restore);
  policy.train = make_train_decision(spec.train);
  return policy;
}

std::string describe_policy(const PolicySpec& spec) {
  const auto row = [](const char* decision, const std::string& name, const std::vector<DecisionName>& names) {
    for (const DecisionName& candidate : names) {
      if (candidate.name == name) return fmt::format("  {:<8} {:<11} {}\n", decision, name, candidate.meaning);
    }
    return std::string();
  };
  std::string text = fmt::format("{}: {}\n\n", spec.name, spec.description);
  text += row("record", spec.record, record_decisions());
  text += row("place", spec.place, place_decisions());
  text += row("evict", spec.evict, evict_decisions());
  text += row("restore", spec.restore, restore_decisions());
  text += row("train", spec.train, train_decisions());
  text += fmt::format("\n  {}\n", spec.separate ? "training has GPUs of its own (cluster.training_gpus)"
                                                : "every GPU serves, and trains if the policy trains");
  if (spec.beside()) text += fmt::format("  training has {:.0f} % of the SMs while it runs\n", 100 * spec.sm_share);
  if (spec.records()) {
    text += fmt::format("  recorded while it is computed: {}\n",
                        spec.record_answers ? "the prompt, and the answer as it is decoded" : "the prompt");
    text += fmt::format(
        "  records: at most {:.0f} % of the KV memory{}{}{}\n", 100 * spec.gpu_record_share,
        spec.spare_memory ? ", or all of it that serving and its prefix cache do not use," : "",
        spec.records_on_host() ? fmt::format(" and {:.0f} % of host memory", 100 * spec.host_record_share) : "",
        spec.keep_for == Duration::max() ? std::string()
                                         : ", dropped after " + format_duration(spec.keep_for) + " without feedback");
  }
  if (!spec.trains()) return text;
  text += fmt::format("  activations of training's own forward {}\n", fresh_meaning(spec.fresh));
  if (spec.records_on_host() || spec.fresh_on_host()) {
    text += fmt::format(
        "  of what comes from the host or goes there, at most {} layers are on the GPU at once, fewer where "
        "serving would miss the memory\n",
        spec.window_layers);
  }
  return text;
}

}  // namespace alchemist

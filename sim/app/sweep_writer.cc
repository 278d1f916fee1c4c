#include <algorithm>
#include <filesystem>
#include <set>

#include "sim/app/config_paths.h"
#include "sim/app/distribution_config.h"
#include "sim/app/sweep_config.h"
#include "sim/app/sweep_points.h"

namespace alchemist {

namespace {

namespace fs = std::filesystem;

// Of a part of an experiment. Some keys hold nothing but paths, others the name of what is built in or a path.
bool holds_path(const YamlValue& value) {
  static const std::set<std::string> paths = {"profile", "trace", "empirical", "file", "tokenizer"};
  static const std::set<std::string> names = {"model", "hardware", "workload", "policy", "base"};
  const std::string key = value.key_path().substr(value.key_path().rfind('.') + 1);
  const std::string& text = value.node().Scalar();
  return paths.contains(key) ||
         (names.contains(key) && (names_a_path(text) || text.ends_with(".csv") || text.ends_with(".jsonl")));
}

// Files that a part of an experiment names relative to where it stands, named from the root.
void settle(const YamlValue& value) {
  if (value.is_map()) {
    YamlMap map(value);
    for (const std::string& key : map.keys()) settle(map.required(key));
  } else if (value.is_scalar() && holds_path(value)) {
    YAML::Node node = value.node();
    node = fs::absolute(resolve_path(value)).lexically_normal().string();
  }
}

// One style everywhere, so that what is read back is written the same again.
void set_styles(YAML::Node node) {
  node.SetStyle(node.IsMap() ? YAML::EmitterStyle::Block : YAML::EmitterStyle::Flow);
  if (!node.IsMap()) return;
  for (const auto& entry : node) set_styles(entry.second);
}

// The experiment of the first point, in full. A workload may be written in more than one way; where axes change parts
// of it, it must keep the way that they are meant for.
YAML::Node base_node(const SweepSpec& spec) {
  YAML::Node base = YAML::Load(emit_experiment(first_experiment(spec)));
  const std::vector<std::string> keys = axis_keys(spec);
  if (std::any_of(keys.begin(), keys.end(), [](const std::string& key) { return key.starts_with("workload."); })) {
    const YamlValue workload =
        YamlMap(experiment_document(spec.base->text, spec.base->origin, spec.set)).required("workload");
    settle(workload);
    set_styles(workload.node());
    base["workload"] = workload.node();
  }
  return base;
}

YAML::Node settled(const YamlOverride& setting) {
  const YamlValue value(YAML::Load(setting.text), setting.origin, setting.key_path);
  settle(value);
  return value.node();
}

void emit_axes(YAML::Emitter& out, const AxisGroup& axes) {
  out << YAML::BeginMap;
  for (const SweepAxis& axis : axes) {
    out << YAML::Key << axis.key << YAML::Value << YAML::Flow << YAML::BeginSeq;
    for (const SweepValue& value : axis.values) out << settled(value.setting);
    out << YAML::EndSeq;
  }
  out << YAML::EndMap;
}

// What `set` changes of a part that an axis replaces as a whole: the base alone would lose it.
void emit_set_of_axes(YAML::Emitter& out, const SweepSpec& spec) {
  const std::vector<std::string> axes = axis_keys(spec);
  YAML::Node kept(YAML::NodeType::Map);
  for (const YamlOverride& setting : spec.set) {
    if (std::any_of(axes.begin(), axes.end(),
                    [&](const std::string& axis) { return setting.key_path.starts_with(axis + "."); })) {
      kept[setting.key_path] = settled(setting);
    }
  }
  if (kept.size() > 0) out << YAML::Key << "set" << YAML::Value << kept;
}

void emit_search_keys(YAML::Emitter& out, const SweepSpec& spec) {
  if (spec.goal) {
    out << YAML::Key << (spec.goal->minimise ? "minimise" : "maximise") << YAML::Value << spec.goal->metric;
    if (!spec.goal->subject_to.empty()) {
      out << YAML::Key << "subject_to" << YAML::Value << YAML::BeginMap;
      for (const MetricBound& bound : spec.goal->subject_to)
        out << YAML::Key << bound.metric << YAML::Value << bound.text();
      out << YAML::EndMap;
    }
  }
  if (spec.search) {
    out << YAML::Key << "search" << YAML::Value << YAML::BeginMap << YAML::Key << spec.search->key << YAML::Value;
    out << YAML::Flow << YAML::BeginMap << YAML::Key << "low" << YAML::Value << spec.search->text_of(spec.search->low);
    out << YAML::Key << "high" << YAML::Value << spec.search->text_of(spec.search->high);
    out << YAML::Key << "tolerance" << YAML::Value << spec.search->text_of(spec.search->tolerance);
    out << YAML::EndMap << YAML::EndMap;
  }
  if (spec.halving) {
    out << YAML::Key << "halving" << YAML::Value;
    emit_axes(out, {*spec.halving});
  }
}

}  // namespace

std::string emit_sweep(const SweepSpec& spec) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  out << YAML::Key << "base" << YAML::Value << base_node(spec);
  emit_set_of_axes(out, spec);
  AxisGroup grid;
  for (const AxisGroup& group : spec.groups) {
    if (group.size() == 1) grid.push_back(group.front());
  }
  if (!grid.empty()) {
    out << YAML::Key << "grid" << YAML::Value;
    emit_axes(out, grid);
  }
  if (!spec.groups.empty() && spec.groups.back().size() > 1) {
    out << YAML::Key << "zip" << YAML::Value;
    emit_axes(out, spec.groups.back());
  }
  out << YAML::Key << "seeds" << YAML::Value << YAML::Flow << spec.seeds;
  if (!spec.baseline.empty()) {
    // In a zip it may be there more than once.
    const std::vector<SweepValue>& policies = find_axis(spec, "policy")->values;
    const auto policy = std::ranges::find(policies, spec.baseline, &SweepValue::label);
    out << YAML::Key << "baseline" << YAML::Value << settled(policy->setting);
  }
  emit_search_keys(out, spec);
  if (spec.keep_files) out << YAML::Key << "keep_files" << YAML::Value << true;
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

}  // namespace alchemist

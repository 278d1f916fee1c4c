#include <algorithm>
#include <filesystem>

#include "sim/app/distribution_config.h"
#include "sim/app/sweep_config.h"
#include "sim/app/sweep_points.h"

namespace alchemist {

namespace {

namespace fs = std::filesystem;

// Files that a part of an experiment names relative to `folder`, named from the root. The styles are made the same
// everywhere, so that what is read back is written the same again.
void settle(YAML::Node node, const fs::path& folder) {
  node.SetStyle(node.IsMap() ? YAML::EmitterStyle::Block : YAML::EmitterStyle::Flow);
  if (node.IsScalar() && node.Scalar().find_first_of("./") != std::string::npos) {
    std::error_code error;
    const fs::path path = fs::absolute(folder / node.Scalar()).lexically_normal();
    if (fs::exists(path, error)) node = path.string();
  }
  if (node.IsMap()) {
    for (const auto& entry : node) settle(entry.second, folder);
  } else if (node.IsSequence()) {
    for (const auto& element : node) settle(element, folder);
  }
}

// The experiment of the first point, in full. A workload may be written in more than one way; where axes change parts
// of it, it must keep the way that they are meant for.
YAML::Node base_node(const SweepSpec& spec) {
  YAML::Node base = YAML::Load(emit_experiment(first_experiment(spec)));
  const std::vector<std::string> keys = axis_keys(spec);
  if (std::any_of(keys.begin(), keys.end(), [](const std::string& key) { return key.starts_with("workload."); })) {
    YAML::Node workload = experiment_document(spec.base->text, spec.base->origin, spec.set).node()["workload"];
    settle(workload, fs::path(spec.base->origin).parent_path());
    base["workload"] = workload;
  }
  return base;
}

void emit_axes(YAML::Emitter& out, const AxisGroup& axes) {
  out << YAML::BeginMap;
  for (const SweepAxis& axis : axes) {
    out << YAML::Key << axis.key << YAML::Value << YAML::Flow << YAML::BeginSeq;
    for (const SweepValue& value : axis.values) out << YAML::Load(value.setting.text);
    out << YAML::EndSeq;
  }
  out << YAML::EndMap;
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
    for (const SweepValue& policy : find_axis(spec, "policy")->values) {
      if (policy.label == spec.baseline)
        out << YAML::Key << "baseline" << YAML::Value << YAML::Load(policy.setting.text);
    }
  }
  emit_search_keys(out, spec);
  if (spec.keep_files) out << YAML::Key << "keep_files" << YAML::Value << true;
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

}  // namespace alchemist

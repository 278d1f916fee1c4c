#include "sim/app/sweep_overrides.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "sim/app/sweep_axes.h"
#include "sim/app/sweep_points.h"
#include "sim/base/error.h"

namespace alchemist {

namespace {

void check_is_no_seed(const std::string& key, const std::string& label) {
  if (key == "seed") throw ConfigError(label + ": expected the seeds as --seeds 1,2,3");
}

void set_for_all(SweepSpec& spec, const YamlOverride& setting) {
  check_is_no_seed(setting.key_path, setting.label);
  if (find_axis(spec, setting.key_path) != nullptr)
    throw ConfigError(setting.label + ": the sweep varies " + setting.key_path + "; expected --grid '" +
                      setting.key_path + "=[VALUE, ...]' for other values");
  const std::vector<std::string> varied = axis_keys(spec);
  if (std::ranges::find(varied, setting.key_path) != varied.end())
    throw ConfigError(setting.label + ": the sweep searches along " + setting.key_path + ", expected another key");
  std::erase_if(spec.set, [&](const YamlOverride& old) { return old.key_path == setting.key_path; });
  spec.set.push_back(setting);
}

// The value of the option as one of a document, so that messages name the option, and paths in it are relative to the
// working directory.
YamlValue value_of(const YamlOverride& option) {
  YamlValue value = YamlValue(YAML::Node(YAML::NodeType::Map), "", "").with_overrides({option});
  std::istringstream words(option.key_path);
  for (std::string word; std::getline(words, word, '.');) value = YamlMap(value).required(word);
  return value;
}

SweepAxis axis_of(const YamlOverride& option) {
  const YamlValue values = value_of(option);
  std::set<std::string> keys;
  SweepAxis axis = read_axis(option.key_path, values, keys);
  check_values_differ(axis, values);
  for (SweepValue& value : axis.values) value.setting.label = option.label;
  return axis;
}

void vary(SweepSpec& spec, const std::string& text) {
  const YamlOverride option = parse_assignment("--grid", text, "[VALUE, ...]");
  const std::string& key = option.key_path;
  check_is_no_seed(key, option.label);
  const bool is_searched = (spec.search && spec.search->key == key) || (spec.halving && spec.halving->key == key);
  if (is_searched) throw ConfigError(option.label + ": the sweep searches along " + key + ", expected another key");
  const auto has_key = [&](const AxisGroup& group) {
    return std::ranges::find(group, key, &SweepAxis::key) != group.end();
  };
  const auto group = std::ranges::find_if(spec.groups, has_key);
  if (group != spec.groups.end() && group->size() > 1)
    throw ConfigError(option.label + ": " + key + " advances with other keys (zip), expected a key of its own");
  const SweepAxis axis = axis_of(option);
  std::erase_if(spec.set, [&](const YamlOverride& old) { return old.key_path == key; });
  if (group != spec.groups.end()) {
    group->front() = axis;
  } else {
    const bool has_zip = !spec.groups.empty() && spec.groups.back().size() > 1;  // it stands last
    spec.groups.insert(spec.groups.end() - (has_zip ? 1 : 0), AxisGroup{axis});
  }
}

void settle_baseline(SweepSpec& spec) {
  const SweepAxis* policies = find_axis(spec, "policy");
  if (policies == nullptr) return;
  if (std::ranges::find(policies->values, spec.baseline, &SweepValue::label) == policies->values.end())
    spec.baseline = policies->values.front().label;
}

}  // namespace

void apply_overrides(SweepSpec& spec, const SweepOverrides& overrides) {
  for (const std::string& grid : overrides.grids) vary(spec, grid);
  settle_baseline(spec);
  const ExperimentOverrides for_all{.sets = overrides.sets, .trace = overrides.trace, .policy = {}, .seed = {}};
  for (const YamlOverride& setting : yaml_overrides(for_all)) set_for_all(spec, setting);
  if (overrides.seeds.empty()) return;
  for (const std::int64_t seed : overrides.seeds) {
    if (std::ranges::count(overrides.seeds, seed) > 1)
      throw ConfigError("--seeds: " + std::to_string(seed) + " is given twice");
  }
  spec.seeds = overrides.seeds;
}

}  // namespace alchemist

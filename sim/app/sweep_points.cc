#include "sim/app/sweep_points.h"

#include <algorithm>

#include "sim/app/distribution_config.h"
#include "sim/base/error.h"

namespace alchemist {

std::vector<std::string> axis_keys(const SweepSpec& spec) {
  std::vector<std::string> keys;
  for (const AxisGroup& group : spec.groups) {
    for (const SweepAxis& axis : group) keys.push_back(axis.key);
  }
  if (spec.search) keys.push_back(spec.search->key);
  if (spec.halving) keys.push_back(spec.halving->key);
  return keys;
}

const SweepAxis* find_axis(const SweepSpec& spec, const std::string& key) {
  for (const AxisGroup& group : spec.groups) {
    for (const SweepAxis& axis : group) {
      if (axis.key == key) return &axis;
    }
  }
  return nullptr;
}

std::vector<SweepPoint> grid_points(const SweepSpec& spec) {
  std::vector<SweepPoint> points{SweepPoint()};
  for (const AxisGroup& group : spec.groups) {
    std::vector<SweepPoint> longer;
    for (const SweepPoint& point : points) {
      for (std::size_t i = 0; i < group.front().values.size(); ++i) {
        longer.push_back(point);
        for (const SweepAxis& axis : group) longer.back().values.push_back(axis.values[i]);
      }
    }
    points = std::move(longer);
  }
  return points;
}

std::vector<YamlOverride> point_overrides(const SweepSpec& spec, const SweepPoint& point,
                                          std::optional<std::int64_t> seed) {
  std::vector<YamlOverride> overrides = spec.set;
  for (const SweepValue& value : point.values) overrides.push_back(value.setting);
  if (seed) overrides.push_back({"seed", std::to_string(*seed), "seeds"});
  const auto depth = [](const YamlOverride& o) { return std::count(o.key_path.begin(), o.key_path.end(), '.'); };
  std::stable_sort(overrides.begin(), overrides.end(),
                   [&](const YamlOverride& a, const YamlOverride& b) { return depth(a) < depth(b); });
  return overrides;
}

SweepValue search_value(const SweepSpec& spec, double value) {
  const std::string text = format_number(value);
  return {text, {spec.search->key, text, "search " + spec.search->key + "=" + text}};
}

Experiment first_experiment(const SweepSpec& spec) {
  std::optional<ConfigError> first_error;
  for (SweepPoint point : grid_points(spec)) {
    if (spec.search) point.values.push_back(search_value(spec, spec.search->low));
    if (spec.halving) point.values.push_back(spec.halving->values.back());
    try {
      return read_experiment(spec.base->text, spec.base->origin, point_overrides(spec, point, std::nullopt));
    } catch (const ConfigError& e) {
      if (!first_error) first_error = e;
    }
  }
  throw ConfigError(*first_error);
}

}  // namespace alchemist

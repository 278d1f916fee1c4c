#include "sim/app/sweep_points.h"

#include <algorithm>
#include <numbers>

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

namespace {

std::vector<SweepPoint> cross_product(const std::vector<AxisGroup>& groups) {
  std::vector<SweepPoint> points{SweepPoint()};
  for (const AxisGroup& group : groups) {
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

// What is known of the values of a group that advance together.
struct ReadValue {
  bool good = false;  // a point that has it could be read
  int failures = 0;
  std::optional<ConfigError> first_error;
};

// Notes for each of its values whether the point can be read.
void read_point(const SweepSpec& spec, const SweepPoint& point, const std::vector<ReadValue*>& values) {
  constexpr int kTries = 64;  // of a value, before it counts as a mistake: a sweep may have a million points
  if (std::ranges::all_of(values, [](const ReadValue* value) { return value->good || value->failures >= kTries; }))
    return;
  try {
    read_keys(experiment_document(spec.base->text, spec.base->origin, point_overrides(spec, point, std::nullopt)));
    for (ReadValue* value : values) value->good = true;
  } catch (const ConfigError& error) {
    for (ReadValue* value : values) {
      if (++value->failures == 1) value->first_error = error;
    }
  }
}

}  // namespace

std::vector<SweepPoint> grid_points(const SweepSpec& spec) { return cross_product(spec.groups); }

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
  const std::string text = spec.search->text_of(value);
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

void check_values(const SweepSpec& spec) {
  std::vector<AxisGroup> groups = spec.groups;
  if (spec.search) {
    const SearchAxis& search = *spec.search;
    SweepAxis looked_at{search.key, {search_value(spec, search.low), search_value(spec, search.high)}};
    // A value between them that is not whole, unless the search passes over such.
    if (!search.is_whole()) {
      const double between = search.low + (search.high - search.low) / std::numbers::pi;
      looked_at.values.push_back(search_value(spec, between));
    }
    groups.push_back({looked_at});
  }
  if (spec.halving) groups.push_back({*spec.halving});
  std::vector<std::vector<ReadValue>> known;
  for (const AxisGroup& group : groups) known.emplace_back(group.front().values.size());
  std::int64_t number = 0;
  for (const SweepPoint& point : cross_product(groups)) {
    std::vector<ReadValue*> values;  // of the point, the last group's first, as the last one changes fastest
    std::int64_t rest = number++;
    for (auto group = known.rbegin(); group != known.rend(); ++group) {
      const auto size = static_cast<std::int64_t>(group->size());
      values.push_back(&(*group)[static_cast<std::size_t>(rest % size)]);
      rest /= size;
    }
    read_point(spec, point, values);
  }
  for (const std::vector<ReadValue>& group : known) {
    for (const ReadValue& value : group) {
      if (!value.good && value.first_error) throw ConfigError(*value.first_error);
    }
  }
}

}  // namespace alchemist

#include "sim/app/sweep_axes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <map>
#include <string_view>

#include "sim/app/distribution_config.h"

namespace alchemist {

namespace {

// What tells a value from others: of numbers, with or without a unit, not how they are written.
std::string meaning_of(const SweepValue& value) {
  const std::string& text = value.label;
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  if (error != std::errc() || !(unit.empty() || unit.front() == ' ')) return text;
  return format_number(number) + std::string(unit);
}

}  // namespace

SweepValue read_axis_value(const std::string& key, const YamlValue& value) {
  if (value.node().IsNull()) value.fail("expected a value, got nothing");
  const std::string text = flow_text(value.node());
  const bool named = key == "policy" && value.is_map() && value.node()["name"];
  const YAML::Node word = named ? value.node()["name"] : value.node();  // what reports call it
  const std::string label = word.IsScalar() ? word.Scalar() : text;
  const std::string place = value.origin() + ":" + std::to_string(value.line());
  return {label, {key, text, place, value.origin()}};
}

SweepAxis read_axis(const std::string& key, const YamlValue& values, std::set<std::string>& keys) {
  if (key == "seed") values.fail("give the seeds under the key seeds");
  if (!keys.insert(key).second) values.fail("varied or set twice");
  SweepAxis axis{key, {}};
  for (const YamlValue& value : values.as_list()) axis.values.push_back(read_axis_value(key, value));
  if (axis.values.empty()) values.fail("expected at least one value");
  return axis;
}

void check_values_differ(const SweepAxis& axis, const YamlValue& values) {
  std::map<std::string, std::string> seen;  // by their meaning, what they are called
  for (const SweepValue& v : axis.values) {
    const auto [other, is_new] = seen.try_emplace(meaning_of(v), v.label);
    if (is_new) continue;
    values.fail("has the value " + v.label + " twice" + (other->second == v.label ? "" : ", also as " + other->second));
  }
}

std::vector<AxisGroup> read_grid(const YamlValue& value, std::set<std::string>& keys) {
  std::vector<AxisGroup> groups;
  YamlMap map(value);
  for (const std::string& key : map.keys()) {
    const YamlValue values = map.required(key);
    groups.push_back({read_axis(key, values, keys)});
    check_values_differ(groups.back().front(), values);
  }
  return groups;
}

AxisGroup read_zip(const YamlValue& value, std::set<std::string>& keys) {
  AxisGroup group;
  YamlMap map(value);
  for (const std::string& key : map.keys()) {
    const YamlValue values = map.required(key);
    group.push_back(read_axis(key, values, keys));
    if (group.back().values.size() != group.front().values.size())
      values.fail(fmt::format("expected as many values as {} has: {}, got {}", group.front().key,
                              group.front().values.size(), group.back().values.size()));
  }
  if (group.size() < 2) value.fail("expected at least two keys, to advance together");
  std::set<std::vector<std::string>> seen;
  for (std::size_t i = 0; i < group.front().values.size(); ++i) {
    std::vector<std::string> together;
    for (const SweepAxis& axis : group) together.push_back(meaning_of(axis.values[i]));
    if (!seen.insert(together).second)
      value.fail(fmt::format("has the values {} twice, as their number {}", fmt::join(together, ", "), i + 1));
  }
  return group;
}

std::vector<YamlOverride> read_set(const YamlValue& value, std::set<std::string>& keys) {
  std::vector<YamlOverride> set;
  YamlMap map(value);
  for (const std::string& key : map.keys()) {
    const YamlValue one = map.required(key);
    if (key == "seed") one.fail("give the seeds under the key seeds");
    keys.insert(key);
    set.push_back(read_axis_value(key, one).setting);
  }
  return set;
}

}  // namespace alchemist

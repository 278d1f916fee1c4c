// Reads the parts of a sweep that say what its points differ in and what they have in common.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "sim/app/sweep_config.h"
#include "sim/app/yaml_reader.h"

namespace alchemist {

// Each throws ConfigError with file, line and key for what is wrong. `keys`: those of the sweep so far, to which what
// is read is added; one that is there already is an error.

SweepValue read_axis_value(const std::string& key, const YamlValue& value);
SweepAxis read_axis(const std::string& key, const YamlValue& values, std::set<std::string>& keys);
// ConfigError if two of the axis's values mean the same: a grid would have points twice. It was read from `values`.
void check_values_differ(const SweepAxis& axis, const YamlValue& values);
std::vector<AxisGroup> read_grid(const YamlValue& value, std::set<std::string>& keys);
AxisGroup read_zip(const YamlValue& value, std::set<std::string>& keys);
std::vector<YamlOverride> read_set(const YamlValue& value, std::set<std::string>& keys);

}  // namespace alchemist

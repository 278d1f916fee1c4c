// The points of a sweep: which values of its axes each one has, and the experiment that it stands for.
#pragma once

#include <string>
#include <vector>

#include "sim/app/sweep_config.h"

namespace alchemist {

// Keys of all columns that tell points apart, in order: grid, zip, the search axis, the halving axis.
std::vector<std::string> axis_keys(const SweepSpec& spec);

// The axis of grid or zip with that key, or none.
const SweepAxis* find_axis(const SweepSpec& spec, const std::string& key);

struct SweepPoint {
  std::vector<SweepValue> values;  // one for each of the axes that the point has, in the order of axis_keys()
};

// The cross product of the groups, the last changing fastest. One point without any axis.
std::vector<SweepPoint> grid_points(const SweepSpec& spec);

// A value of the search axis.
SweepValue search_value(const SweepSpec& spec, double value);

// What is put into the base for a point: `set`, the point's values, and the seed (none: the base's own). Keys that are
// part of others come after these: a rate after the workload that it is the rate of.
std::vector<YamlOverride> point_overrides(const SweepSpec& spec, const SweepPoint& point,
                                          std::optional<std::int64_t> seed);

// The experiment of the first point that can be read. ConfigError, that of the first point, if none can.
Experiment first_experiment(const SweepSpec& spec);

// ConfigError if there is a value with which no point can be read (read_keys): a mistake in the sweep, unlike what does
// not fit a GPU or a combination that cannot work, whose points fail when they are run. Of a search axis its two ends.
void check_values(const SweepSpec& spec);

}  // namespace alchemist

// A sweep: one experiment run at many points of a few of its keys, each with several seeds; or a search among them.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/app/experiment.h"
#include "sim/app/yaml_reader.h"

namespace alchemist {

// One value of a key, ready to be put into the experiment.
struct SweepValue {
  std::string label;  // as it is written in the sweep, for tables; a policy that has a name goes by it
  YamlOverride setting;
};

struct SweepAxis {
  std::string key;  // key path of the experiment, such as "workload.rate"
  std::vector<SweepValue> values;
};

// Axes that advance together, all of the same length. A key of `grid` is a group of its own, a `zip` is one group.
using AxisGroup = std::vector<SweepAxis>;

// The experiment that every point starts from, as text: threads and hosts read it for themselves.
struct SweepBase {
  std::string text;    // YAML
  std::string origin;  // the file it came from: for messages, and paths in it are relative to its folder
};

// "p99_ttft_ms: <= 1000".
struct MetricBound {
  enum class Relation { kLess, kAtMost, kMore, kAtLeast };
  std::string metric;  // a key of summary.json
  Relation relation = Relation::kAtMost;
  double limit = 0;

  bool holds(double value) const;
  std::string text() const;  // "<= 1000"
};

// What a search is for: the point of the highest or lowest mean `metric` (or value of the search axis) among those
// whose means keep every bound.
struct SweepGoal {
  std::string metric;
  bool minimise = false;
  std::vector<MetricBound> subject_to;
};

// The key whose largest value that keeps every bound is looked for by bisection between `low` and `high`, until the
// interval is at most `tolerance` wide: what keeps the bounds is taken to keep them at every lower value, too. The
// other way round where the goal is to minimise this key.
struct SearchAxis {
  std::string key;
  std::string unit;  // of the three numbers, as it is written: "ms"; empty: none
  double low = 0;
  double high = 0;
  double tolerance = 0;
  std::string text_of(double value) const;  // with its unit
  // Whole ends and a whole tolerance: the key may be one of whole numbers, and those between are looked at alone.
  bool is_whole() const {
    const auto whole = [](double value) { return value == std::floor(value); };
    return whole(low) && whole(high) && whole(tolerance);
  }
};

struct SweepSpec {
  std::string name;  // of the file, without its ending
  std::shared_ptr<const SweepBase> base;
  std::vector<YamlOverride> set;  // fixed changes of the base
  std::vector<AxisGroup> groups;  // the points are their cross product, the last group changing fastest
  std::vector<std::int64_t> seeds;
  std::string baseline;  // policy that the others are compared with; empty without an axis `policy`
  std::optional<SweepGoal> goal;
  std::optional<SearchAxis> search;
  bool minimises_search_key() const { return search && goal && goal->minimise && goal->metric == search->key; }
  std::optional<SweepAxis> halving;  // the key that makes later rounds longer, with its value in each round
  bool keep_files = false;           // a run's directory for each run
};

// What the command line changes.
struct SweepOverrides {
  std::vector<std::string> sets;     // "key.path=value", for every point; as in ExperimentOverrides
  std::optional<std::string> trace;  // a file to replay in place of the workload
  std::vector<std::string> grids;    // "key.path=[value, ...]": in place of the values the sweep has, or one axis more
  std::vector<std::int64_t> seeds;   // in place of the sweep's; empty: those
};

// Reads a built-in sweep or a file. ConfigError with file, line and key, or the option, for what is wrong, and if no
// point of the sweep gives an experiment that can be run.
SweepSpec load_sweep(const std::string& name_or_path, const SweepOverrides& overrides = {});

// YAML that gives the same sweep wherever it lies: the base written out in full, paths absolute.
std::string emit_sweep(const SweepSpec& spec);

}  // namespace alchemist

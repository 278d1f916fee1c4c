#include "sim/app/sweep_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include "sim/app/config_paths.h"
#include "sim/app/distribution_config.h"
#include "sim/app/sweep_axes.h"
#include "sim/app/sweep_overrides.h"
#include "sim/app/sweep_points.h"
#include "sim/base/error.h"
#include "sim/report/summary.h"

namespace alchemist {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxRuns = 1'000'000;

std::vector<std::int64_t> read_seeds(const YamlValue& value) {
  std::vector<std::int64_t> seeds;
  for (const YamlValue& seed : value.as_list()) {
    seeds.push_back(seed.as_int(0, std::numeric_limits<std::int64_t>::max()));
    if (std::count(seeds.begin(), seeds.end(), seeds.back()) > 1) seed.fail("given twice");
  }
  if (seeds.empty()) value.fail("expected at least one seed");
  return seeds;
}

std::string read_whole_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw ConfigError::at(file.string(), 0, "cannot be read or is empty");
  return text.str();
}

// The file that is named, or the mapping that stands in the sweep itself.
std::shared_ptr<const SweepBase> read_base(const YamlValue& value) {
  if (value.is_map()) return std::make_shared<const SweepBase>(SweepBase{flow_text(value.node()), value.origin()});
  const fs::path file = resolve_named("experiments", value);
  return std::make_shared<const SweepBase>(SweepBase{read_whole_file(file), file.string()});
}

void check_metric(const std::string& name, const YamlValue& value, const std::vector<std::string>& more) {
  std::vector<std::string> known = result_keys();
  known.insert(known.end(), more.begin(), more.end());
  if (std::find(known.begin(), known.end(), name) != known.end()) return;
  const std::optional<std::string> near = nearest_name(name, known);
  value.fail("\"" + name + "\" is no result of a run" + (near ? "; did you mean \"" + *near + "\"?" : "") +
             " (results are the keys of summary.json)");
}

struct RelationSign {
  const char* sign;
  MetricBound::Relation relation;
};
// Those of two characters first: each is looked for at the start of the text.
constexpr RelationSign kRelations[] = {{"<=", MetricBound::Relation::kAtMost},
                                       {">=", MetricBound::Relation::kAtLeast},
                                       {"<", MetricBound::Relation::kLess},
                                       {">", MetricBound::Relation::kMore}};

MetricBound read_bound(const std::string& metric, const YamlValue& value) {
  check_metric(metric, value, {});
  MetricBound bound{metric};
  const std::string text = value.as_string();
  const auto sign = std::find_if(std::begin(kRelations), std::end(kRelations),
                                 [&](const RelationSign& r) { return text.starts_with(r.sign); });
  if (sign != std::end(kRelations)) {
    bound.relation = sign->relation;
    const std::size_t start = text.find_first_not_of(' ', std::string(sign->sign).size());
    const char* const end = text.data() + text.size();
    const char* const number = text.data() + std::min(start, text.size());
    const auto [rest, error] = std::from_chars(number, end, bound.limit);
    if (error == std::errc() && rest == end && std::isfinite(bound.limit)) return bound;
  }
  value.fail("expected a bound such as \"<= 1000\" (also <, >, >=), got \"" + text + "\"");
}

// A number, and what follows it as its unit, which the experiment's own reader will judge.
struct WithUnit {
  double number = 0;
  std::string unit;
};

WithUnit read_with_unit(const YamlValue& value) {
  const std::string text = value.as_string();
  WithUnit read;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), read.number);
  if (error != std::errc() || !std::isfinite(read.number))
    value.fail("expected a number, with a unit where the key has one (\"8 ms\"), got \"" + text + "\"");
  read.unit =
      text.substr(std::min(text.find_first_not_of(' ', static_cast<std::size_t>(rest - text.data())), text.size()));
  return read;
}

SearchAxis read_search(const YamlValue& value, std::set<std::string>& keys) {
  YamlMap map(value);
  if (map.keys().size() != 1) value.fail("expected one numeric key of the experiment, such as workload.rate");
  SearchAxis search{.key = map.keys().front()};
  if (!keys.insert(search.key).second) value.fail("key " + search.key + ": varied or set twice");
  YamlMap range(map.required(search.key));
  const WithUnit low = read_with_unit(range.required("low"));
  search.unit = low.unit;
  search.low = low.number;
  const auto read = [&](const char* key, double least) {
    const YamlValue number = range.required(key);
    const WithUnit with_unit = read_with_unit(number);
    if (with_unit.unit != search.unit) number.fail("expected the unit that low has, \"" + search.unit + "\"");
    if (with_unit.number < least) number.fail("expected at least " + format_number(least));
    return with_unit.number;
  };
  search.high = read("high", search.low);
  search.tolerance = read("tolerance", 0);
  // Twenty halvings of the interval are more than any measure of a random system is good for.
  if (search.tolerance * (1 << 20) < search.high - search.low || search.tolerance == 0)
    range.required("tolerance").fail("expected at least a millionth of the interval from low to high");
  range.finish();
  return search;
}

SweepGoal read_goal(const YamlValue& metric, bool minimise, std::optional<YamlValue> bounds, const SweepSpec& spec) {
  SweepGoal goal{metric.as_string(), minimise, {}};
  check_metric(goal.metric, metric, spec.search ? std::vector{spec.search->key} : std::vector<std::string>());
  if (!bounds) return goal;
  YamlMap map(*bounds);
  for (const std::string& key : map.keys()) goal.subject_to.push_back(read_bound(key, map.required(key)));
  return goal;
}

void read_search_keys(YamlMap& map, SweepSpec& spec, std::set<std::string>& keys) {
  const auto maximise = map.optional("maximise"), minimise = map.optional("minimise");
  const auto bounds = map.optional("subject_to");
  if (maximise && minimise) minimise->fail("stands beside maximise: a search has one goal");
  const auto goal = maximise ? maximise : minimise;
  const auto search = map.optional("search"), halving = map.optional("halving");
  for (const auto& value : {bounds, search, halving}) {
    if (value && !goal) value->fail("needs the key maximise or minimise: what to look for");
  }
  if (search) spec.search = read_search(*search, keys);
  if (search && !bounds) search->fail("needs the key subject_to: the bounds that the value has to keep");
  if (halving) {
    YamlMap axis(*halving);
    if (axis.keys().size() != 1) halving->fail("expected one key that makes runs longer, such as workload.requests");
    const std::string key = axis.keys().front();
    spec.halving = read_axis(key, axis.required(key), keys);
  }
  if (goal) spec.goal = read_goal(*goal, minimise.has_value(), bounds, spec);
}

std::string read_baseline(const std::optional<YamlValue>& value, const SweepSpec& spec) {
  const SweepAxis* policies = find_axis(spec, "policy");
  if (policies == nullptr && value) value->fail("needs an axis policy");
  if (policies == nullptr) return "";
  if (!value) return policies->values.front().label;
  std::vector<std::string> known;
  for (const SweepValue& policy : policies->values) known.push_back(policy.label);
  const std::string name = read_axis_value("policy", *value).label;
  if (std::find(known.begin(), known.end(), name) == known.end())
    value->fail("\"" + name + "\" is not among the policies of the sweep");
  return name;
}

// What is varied as a whole must not get another base: every value would be that, under its own name.
void check_bases(const SweepSpec& spec) {
  std::vector<YamlOverride> settings = spec.set;
  for (const AxisGroup& group : spec.groups) {
    for (const SweepAxis& axis : group) settings.push_back(axis.values.front().setting);
  }
  const std::string base = ".base";
  for (const YamlOverride& setting : settings) {
    if (!setting.key_path.ends_with(base)) continue;
    const std::string whole = setting.key_path.substr(0, setting.key_path.size() - base.size());
    if (find_axis(spec, whole) != nullptr)
      throw ConfigError(setting.label + ": key " + setting.key_path + ": takes the place of every value of " + whole +
                        ", which the sweep varies");
  }
}

void check_size(const SweepSpec& spec, const YamlValue& document) {
  double runs = static_cast<double>(spec.seeds.size());
  for (const AxisGroup& group : spec.groups) runs *= static_cast<double>(group.front().values.size());
  if (runs > static_cast<double>(kMaxRuns))
    document.fail(fmt::format("{:.4g} runs are more than {}: use fewer values or seeds", runs, kMaxRuns));
}

}  // namespace

bool MetricBound::holds(double value) const {
  switch (relation) {
    case Relation::kLess:
      return value < limit;
    case Relation::kAtMost:
      return value <= limit;
    case Relation::kMore:
      return value > limit;
    case Relation::kAtLeast:
      return value >= limit;
  }
  return false;
}

std::string MetricBound::text() const {
  for (const RelationSign& r : kRelations) {
    if (r.relation == relation) return std::string(r.sign) + " " + format_number(limit);
  }
  return "";
}

std::string SearchAxis::text_of(double value) const { return format_number(value) + (unit.empty() ? "" : " " + unit); }

SweepSpec load_sweep(const std::string& name_or_path, const SweepOverrides& overrides) {
  const fs::path file = resolve_config("sweeps", name_or_path, {});
  const YamlValue document = YamlValue::load(file.string());
  YamlMap map(document);
  SweepSpec spec;
  spec.name = file.stem().string();
  spec.base = read_base(map.required("base"));
  std::set<std::string> keys;
  if (const auto value = map.optional("set")) spec.set = read_set(*value, keys);
  if (const auto value = map.optional("grid")) spec.groups = read_grid(*value, keys);
  if (const auto value = map.optional("zip")) spec.groups.push_back(read_zip(*value, keys));
  if (const auto value = map.optional("seeds")) spec.seeds = read_seeds(*value);
  if (const auto value = map.optional("keep_files")) spec.keep_files = value->as_bool();
  read_search_keys(map, spec, keys);
  spec.baseline = read_baseline(map.optional("baseline"), spec);
  apply_overrides(spec, overrides);
  map.finish();
  check_bases(spec);
  check_size(spec, document);
  const Experiment first = first_experiment(spec);
  check_values(spec);
  if (spec.seeds.empty()) spec.seeds.push_back(first.seed);
  return spec;
}

}  // namespace alchemist

#include "sim/sweep/sweep_statistics.h"

#include <algorithm>

namespace alchemist {

namespace {

std::optional<double> number(const ResultRow& row, std::size_t metric) {
  if (!row.ok) return std::nullopt;
  const SummaryValue& value = row.values[metric];
  if (const auto* real = std::get_if<double>(&value)) return *real;
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return static_cast<double>(*whole);
  if (const auto* natural = std::get_if<std::uint64_t>(&value)) return static_cast<double>(*natural);
  return std::nullopt;
}

std::optional<ConfidenceInterval> interval_of(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  return confidence_interval(values);
}

// Which of a point's values may differ from those of its baseline: the policy and what is zipped with it.
std::vector<bool> beside_the_policy(const SweepSpec& spec) {
  std::vector<bool> free;
  for (const AxisGroup& group : spec.groups) {
    const bool holds_policy =
        std::any_of(group.begin(), group.end(), [](const SweepAxis& axis) { return axis.key == "policy"; });
    free.insert(free.end(), group.size(), holds_policy);
  }
  free.resize(axis_keys(spec).size(), false);
  return free;
}

}  // namespace

std::optional<ConfidenceInterval> mean_over_seeds(const PointRows& rows, std::size_t metric) {
  std::vector<double> values;
  for (const ResultRow& row : rows) {
    if (const std::optional<double> value = number(row, metric)) values.push_back(*value);
  }
  return interval_of(values);
}

std::optional<double> mean_result(const PointRows& rows, const std::string& metric) {
  const std::vector<std::string> keys = result_keys();
  const auto place = static_cast<std::size_t>(std::find(keys.begin(), keys.end(), metric) - keys.begin());
  std::vector<double> values;
  for (const ResultRow& row : rows) {
    const bool* truth = row.ok ? std::get_if<bool>(&row.values[place]) : nullptr;
    if (const auto value = truth ? std::optional(*truth ? 1.0 : 0.0) : number(row, place)) values.push_back(*value);
  }
  const auto interval = interval_of(values);
  return interval ? std::optional(interval->mean) : std::nullopt;
}

std::optional<ConfidenceInterval> paired_difference(const PointRows& rows, const PointRows& baseline,
                                                    std::size_t metric) {
  std::vector<double> differences;
  for (const ResultRow& row : rows) {
    const auto same_seed =
        std::find_if(baseline.begin(), baseline.end(), [&](const ResultRow& r) { return r.seed == row.seed; });
    if (same_seed == baseline.end()) continue;
    const std::optional<double> value = number(row, metric), other = number(*same_seed, metric);
    if (value && other) differences.push_back(*value - *other);
  }
  return interval_of(differences);
}

std::optional<std::size_t> baseline_point(const SweepSpec& spec, const std::vector<SweepPoint>& points,
                                          std::size_t point) {
  const std::vector<std::string> keys = axis_keys(spec);
  const std::vector<bool> free = beside_the_policy(spec);
  const auto policy = static_cast<std::size_t>(std::find(keys.begin(), keys.end(), "policy") - keys.begin());
  if (policy == keys.size() || points[point].values[policy].label == spec.baseline) return std::nullopt;
  for (std::size_t other = 0; other < points.size(); ++other) {
    bool same = points[other].values[policy].label == spec.baseline;
    for (std::size_t i = 0; i < keys.size(); ++i)
      same = same && (free[i] || points[other].values[i].label == points[point].values[i].label);
    if (same) return other;
  }
  return std::nullopt;
}

}  // namespace alchemist

#include "sim/sweep/sweep_report.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>

#include "sim/sweep/sweep_statistics.h"

namespace alchemist {

namespace {

// What serving suffers and training gains; everything else is in the files.
constexpr const char* kShown[] = {"request_goodput", "p99_ttft_ms", "p99_itl_ms", "train_tokens_per_s"};

using Cells = std::vector<std::string>;

// Columns as wide as their widest cell. The axes stand to the left, numbers to the right.
std::string align(const std::vector<Cells>& rows, std::size_t axes) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Cells& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Cells& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += i < axes ? fmt::format("{:<{}}  ", row[i], widths[i]) : fmt::format("{:>{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

// In ASCII, so that a column's bytes are its width.
std::string interval_cell(const std::optional<ConfidenceInterval>& interval) {
  if (!interval) return "-";
  if (!interval->low) return fmt::format("{:.2f}", interval->mean);
  return fmt::format("{:.2f} +- {:.2f}", interval->mean, (*interval->high - *interval->low) / 2);
}

// What a value is called: a map by its name, if it has one.
std::string name_of(const SweepValue& value) {
  const YAML::Node node = YAML::Load(value.setting.text);
  const bool named = node.IsMap() && node["name"] && node["name"].IsScalar();
  return named ? node["name"].Scalar() : value.label;
}

// Whole where another value of the axis has its name.
std::string axis_cell(const SweepAxis* axis, const SweepValue& value) {
  const std::string name = name_of(value);
  const auto is_other = [&](const SweepValue& v) { return v.label != value.label && name_of(v) == name; };
  return axis != nullptr && std::ranges::any_of(axis->values, is_other) ? value.label : name;
}

Cells axis_cells(const SweepRun& run, std::int64_t point) {
  const Cells keys = axis_keys(run.spec());
  Cells cells;
  for (const SweepValue& value : run.points()[static_cast<std::size_t>(point)].values)
    cells.push_back(axis_cell(find_axis(run.spec(), keys[cells.size()]), value));
  return cells;
}

std::string axes_text(const SweepRun& run, std::int64_t point) {
  const Cells keys = axis_keys(run.spec());
  std::string text;
  std::size_t i = 0;
  for (const SweepValue& value : run.points()[static_cast<std::size_t>(point)].values) {
    text += fmt::format("{}{}={}", i == 0 ? "" : " ", keys[i], value.label);
    ++i;
  }
  return text;
}

std::string number_cell(const std::optional<double>& value) { return value ? fmt::format("{:.4g}", *value) : "-"; }

// Of those of a round, for a user who has to loosen a bound.
std::string nearest_text(const SweepRun& run, const SearchRound& round) {
  const RankedCandidate& nearest = round.ranking.front();
  if (!std::isfinite(nearest.excess)) return "";
  std::string metrics;
  for (const MetricBound& bound : run.spec().goal->subject_to) {
    metrics += (metrics.empty() ? "" : ", ") + bound.metric + " " +
               number_cell(mean_result(run.rows_of(nearest.point), bound.metric));
  }
  return fmt::format("Nearest: {} ({})\n", axes_text(run, nearest.point), metrics);
}

std::string bounds_text(const SweepGoal& goal) {
  std::string text;
  for (const MetricBound& bound : goal.subject_to)
    text += (text.empty() ? " with " : ", ") + bound.metric + " " + bound.text();
  return text;
}

}  // namespace

std::string points_table(const SweepRun& run) {
  const std::vector<std::string> keys = result_keys();
  std::vector<Cells> rows{axis_keys(run.spec())};
  const std::size_t axes = rows.front().size();
  rows.front().insert(rows.front().end(), std::begin(kShown), std::end(kShown));
  for (std::size_t point = 0; point < run.points().size(); ++point) {
    const auto number = static_cast<std::int64_t>(point);
    rows.push_back(axis_cells(run, number));
    const PointRows results = run.rows_of(number);
    for (const char* metric : kShown) {
      const auto place = static_cast<std::size_t>(std::find(keys.begin(), keys.end(), metric) - keys.begin());
      rows.back().push_back(interval_cell(mean_over_seeds(results, place)));
    }
  }
  return align(rows, axes);
}

std::string search_table(const SweepRun& run, const std::vector<SearchRound>& rounds) {
  const SweepGoal& goal = *run.spec().goal;
  const RankedCandidate& first = rounds.back().ranking.front();
  std::vector<Cells> rows{axis_keys(run.spec())};
  const std::size_t axes = rows.front().size();
  rows.front().insert(rows.front().end(), {"within bounds", goal.metric});
  // What to loosen is of interest where there is no answer.
  const std::vector<MetricBound> shown = first.feasible ? std::vector<MetricBound>() : goal.subject_to;
  for (const MetricBound& bound : shown) {
    if (bound.metric != goal.metric) rows.front().push_back(bound.metric);
  }
  for (const RankedCandidate& r : rounds.back().ranking) {
    rows.push_back(axis_cells(run, r.point));
    rows.back().push_back(r.feasible ? "yes" : "no");
    rows.back().push_back(number_cell(r.score));
    for (const MetricBound& bound : shown) {
      if (bound.metric != goal.metric)
        rows.back().push_back(number_cell(mean_result(run.rows_of(r.point), bound.metric)));
    }
  }
  const std::string what = fmt::format("{} {}{}", goal.minimise ? "lowest" : "highest", goal.metric, bounds_text(goal));
  if (!first.feasible) {
    const char* where = rounds.size() > 1 ? "No candidate of the last round: " : "No candidate: ";
    return align(rows, axes) + "\n" + where + what + "\n" + nearest_text(run, rounds.back());
  }
  return align(rows, axes) + fmt::format("\nBest: {} ({})\n", axes_text(run, first.point), what);
}

}  // namespace alchemist

#include "sim/sweep/sweep_report.h"

#include <fmt/format.h>

#include <algorithm>

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

Cells axis_cells(const SweepRun& run, std::int64_t point) {
  Cells cells;
  for (const SweepValue& value : run.points()[static_cast<std::size_t>(point)].values) cells.push_back(value.label);
  return cells;
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
  std::vector<Cells> rows{axis_keys(run.spec())};
  const std::size_t axes = rows.front().size();
  rows.front().insert(rows.front().end(), {"within bounds", goal.maximise});
  for (const RankedCandidate& r : rounds.back().ranking) {
    rows.push_back(axis_cells(run, r.point));
    rows.back().push_back(r.feasible ? "yes" : "no");
    rows.back().push_back(r.score ? fmt::format("{:.4g}", *r.score) : "-");
  }
  const std::string what = fmt::format("highest {}{}", goal.maximise, bounds_text(goal));
  if (!rounds.back().ranking.front().feasible) return align(rows, axes) + "\nNo candidate: " + what + "\n";
  std::string answer;
  const Cells best = axis_cells(run, rounds.back().ranking.front().point);
  for (std::size_t i = 0; i < axes; ++i) answer += fmt::format("{}{}={}", i == 0 ? "" : " ", rows.front()[i], best[i]);
  return align(rows, axes) + fmt::format("\nBest: {} ({})\n", answer, what);
}

}  // namespace alchemist

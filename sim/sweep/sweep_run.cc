#include "sim/sweep/sweep_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/report/json_text.h"

namespace alchemist {

namespace {

bool same_values(const SweepPoint& a, const SweepPoint& b) {
  return std::equal(a.values.begin(), a.values.end(), b.values.begin(), b.values.end(),
                    [](const SweepValue& x, const SweepValue& y) { return x.label == y.label; });
}

}  // namespace

std::int64_t SweepRun::add_point(const SweepPoint& point) {
  const auto known =
      std::find_if(points_.begin(), points_.end(), [&](const SweepPoint& other) { return same_values(point, other); });
  if (known != points_.end()) return known - points_.begin();
  points_.push_back(point);
  seeds_run_.push_back(0);
  return static_cast<std::int64_t>(points_.size()) - 1;
}

RunTask SweepRun::task(std::int64_t point, std::int64_t seed) const {
  RunTask task{.point = point, .seed = seed, .base = spec_.base};
  task.overrides = point_overrides(spec_, points_[static_cast<std::size_t>(point)], seed);
  if (spec_.keep_files) task.directory = directory_.path() / "points" / fmt::format("{}-{}", point, seed);
  return task;
}

std::string SweepRun::axes_json(std::int64_t point) const {
  const std::vector<std::string> keys = axis_keys(spec_);
  std::string text;
  std::size_t i = 0;
  for (const SweepValue& value : points_[static_cast<std::size_t>(point)].values) {
    text += (text.empty() ? "" : ", ") + json_string(keys[i++]) + ": " + json_string(value.label);
  }
  return "{" + text + "}";
}

void SweepRun::evaluate(const std::vector<std::int64_t>& points, std::size_t seeds) {
  std::vector<RunTask> tasks;
  std::int64_t found = 0;
  for (const std::int64_t point : points) {
    std::size_t& seeds_run = seeds_run_[static_cast<std::size_t>(point)];
    for (std::size_t i = seeds_run; i < seeds; ++i) {
      const std::optional<StoredRun> stored = directory_.results().find(point, spec_.seeds[i]);
      check(!stored || stored->axes == axes_json(point), "a sweep that goes on numbers its points as before");
      if (stored && stored->ok) {
        ++found;
      } else {
        tasks.push_back(task(point, spec_.seeds[i]));
      }
    }
    seeds_run = std::max(seeds_run, seeds);
  }
  view_.add_runs(found + static_cast<std::int64_t>(tasks.size()));
  view_.add_found(found);
  executor_.run(tasks, *this);
}

void SweepRun::on_outcome(const RunOutcome& outcome) {
  if (outcome.status == RunStatus::kUnwritable) throw OutputError(outcome.message);
  check(outcome.status != RunStatus::kStopped, "a run stops only after its sweep has");
  directory_.results().put({.point = outcome.point,
                            .seed = outcome.seed,
                            .axes = axes_json(outcome.point),
                            .ok = outcome.status == RunStatus::kOk,
                            .message = outcome.message,
                            .config = outcome.config,
                            .summary = outcome.summary});
  view_.finished(outcome.status == RunStatus::kOk);
  if (outcome.status != RunStatus::kOk)
    view_.message(fmt::format("point {}, seed {} failed: {}", outcome.point, outcome.seed, outcome.message));
}

std::vector<ResultRow> SweepRun::rows_of(std::int64_t point) const {
  std::vector<ResultRow> rows;
  for (std::size_t i = 0; i < seeds_run_[static_cast<std::size_t>(point)]; ++i) {
    const std::optional<StoredRun> stored = directory_.results().find(point, spec_.seeds[i]);
    check(stored.has_value(), "every run that was asked for has a result");
    rows.push_back({point, stored->seed, stored->ok, stored->message, {}});
    if (stored->ok) rows.back().values = read_results(stored->summary);
  }
  return rows;
}

std::vector<ResultRow> SweepRun::rows() const {
  std::vector<ResultRow> all;
  for (std::size_t point = 0; point < points_.size(); ++point) {
    std::vector<ResultRow> some = rows_of(static_cast<std::int64_t>(point));
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace alchemist

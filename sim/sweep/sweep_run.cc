#include "sim/sweep/sweep_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/report/json_text.h"
#include "sim/sweep/yaml_difference.h"

namespace alchemist {

std::int64_t SweepRun::add_point(const SweepPoint& point) {
  const auto [known, is_new] = numbers_.emplace(axes_json(point), static_cast<std::int64_t>(points_.size()));
  if (is_new) {
    points_.push_back(point);
    seeds_run_.push_back(0);
  }
  return known->second;
}

RunTask SweepRun::task(std::int64_t point, std::int64_t seed) const {
  RunTask task{.point = point, .seed = seed, .base = spec_.base};
  task.overrides = point_overrides(spec_, points_[static_cast<std::size_t>(point)], seed);
  if (spec_.keep_files)
    task.directory = std::filesystem::absolute(means_.directory.path() / "points" / fmt::format("{}-{}", point, seed));
  return task;
}

std::string SweepRun::axes_json(const SweepPoint& point) const {
  const std::vector<std::string> keys = axis_keys(spec_);
  std::string text;
  std::size_t i = 0;
  for (const SweepValue& value : point.values) {
    text += (text.empty() ? "" : ", ") + json_string(keys[i++]) + ": " + json_string(value.label);
  }
  return "{" + text + "}";
}

// The sweep is the same, but the files of models, hardware or workloads that it names may have changed. What stands in
// policies, traces and profiles is not looked at.
void SweepRun::check_same(const StoredRun& stored) const {
  const RunTask again = task(stored.point, stored.seed);
  const std::string config = emit_experiment(read_experiment(again.base->text, again.base->origin, again.overrides));
  if (config != stored.config)
    throw ConfigError(fmt::format(
        "{}: point {} with seed {} was run with a configuration that has changed since:\n{}"
        "Choose another --out.",
        means_.directory.path().string(), stored.point, stored.seed, yaml_difference(stored.config, config)));
  try {
    read_results(stored.summary);
  } catch (const ConfigError& e) {
    throw ConfigError(fmt::format("{}: the summary of point {} with seed {} is damaged: {}; choose another --out",
                                  (means_.directory.path() / "results.sqlite").string(), stored.point, stored.seed,
                                  e.what()));
  }
}

void SweepRun::evaluate(const std::vector<std::int64_t>& points, std::size_t seeds) {
  std::vector<RunTask> tasks;
  std::int64_t found = 0;
  for (const std::int64_t point : points) {
    std::size_t& seeds_run = seeds_run_[static_cast<std::size_t>(point)];
    for (std::size_t i = seeds_run; i < seeds; ++i) {
      const std::optional<StoredRun> stored = means_.directory.results().find(point, spec_.seeds[i]);
      // A search numbers its points anew where a run that had failed does not any more: the number is another's then.
      if (stored && stored->ok && stored->axes == axes_json(point)) {
        check_same(*stored);
        ++found;
      } else {
        tasks.push_back(task(point, spec_.seeds[i]));
      }
    }
    seeds_run = std::max(seeds_run, seeds);
  }
  means_.view.add_runs(found + static_cast<std::int64_t>(tasks.size()));
  means_.view.add_found(found);
  means_.executor.run(tasks, *this);
}

void SweepRun::on_outcome(const RunOutcome& outcome) {
  if (outcome.status == RunStatus::kUnwritable) throw OutputError(outcome.message);
  check(outcome.status != RunStatus::kStopped, "a run stops only after its sweep has");
  means_.directory.results().put({.point = outcome.point,
                                  .seed = outcome.seed,
                                  .axes = axes_json(outcome.point),
                                  .ok = outcome.status == RunStatus::kOk,
                                  .message = outcome.message,
                                  .config = outcome.config,
                                  .summary = outcome.summary});
  means_.view.finished(outcome.status == RunStatus::kOk);
  // The other seeds mostly fail alike.
  if (outcome.status != RunStatus::kOk && told_.insert(outcome.point).second)
    means_.view.message(fmt::format("point {}, seed {} failed: {}", outcome.point, outcome.seed, outcome.message));
}

void SweepRun::on_tick(std::int64_t running) {
  means_.interruption.throw_if_asked();
  means_.view.show(running);
}

std::vector<ResultRow> SweepRun::rows_of(std::int64_t point) const {
  std::vector<ResultRow> rows;
  for (std::size_t i = 0; i < seeds_run_[static_cast<std::size_t>(point)]; ++i) {
    const std::optional<StoredRun> stored = means_.directory.results().find(point, spec_.seeds[i]);
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

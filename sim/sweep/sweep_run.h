// A sweep on its way: which points it has, which of their runs are done, and how the others get done.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/app/interruption.h"
#include "sim/app/sweep_points.h"
#include "sim/report/summary.h"
#include "sim/sweep/executor.h"
#include "sim/sweep/live_view.h"
#include "sim/sweep/sweep_directory.h"

namespace alchemist {

// A run as the tables have it.
struct ResultRow {
  std::int64_t point = 0;
  std::int64_t seed = 0;
  bool ok = false;
  std::string message;
  std::vector<SummaryValue> values;  // in the order of result_keys(); empty if it failed
};

class SweepRun final : public SweepListener {
 public:
  struct Means {
    SweepDirectory& directory;
    Executor& executor;
    LiveView& view;
    Interruption& interruption;
  };
  SweepRun(const SweepSpec& spec, const Means& means) : spec_(spec), means_(means) {}

  // The number of a point. Points are numbered from 0 in the order in which they are first asked for.
  std::int64_t add_point(const SweepPoint& point);

  // Runs the points with the first `seeds` seeds of the sweep, except for runs that are done already; a failed one is
  // tried again. OutputError if results cannot be written, Interrupted if the user wants it; what was finished is kept.
  void evaluate(const std::vector<std::int64_t>& points, std::size_t seeds);

  const SweepSpec& spec() const { return spec_; }
  const std::vector<SweepPoint>& points() const { return points_; }
  std::vector<ResultRow> rows() const;  // by point, seeds in the order of the sweep; those that were asked for
  // Of one point: its rows so far.
  std::vector<ResultRow> rows_of(std::int64_t point) const;

  void on_outcome(const RunOutcome& outcome) override;
  void on_tick(std::int64_t running) override;

 private:
  RunTask task(std::int64_t point, std::int64_t seed) const;
  void check_same(const StoredRun& stored) const;
  // A JSON object, key path -> value.
  std::string axes_json(const SweepPoint& point) const;
  std::string axes_json(std::int64_t point) const { return axes_json(points_[static_cast<std::size_t>(point)]); }

  const SweepSpec& spec_;
  Means means_;
  std::vector<SweepPoint> points_;
  std::map<std::string, std::int64_t> numbers_;  // of the points, by their axes
  std::set<std::int64_t> told_;                  // points whose failure the user knows of
  std::vector<std::size_t> seeds_run_;           // by point: how many of the seeds it has been run with
};

}  // namespace alchemist

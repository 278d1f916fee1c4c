// From an experiment to its run: builds the cost model, the memory plan and the workload, and lets the simulation go.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sim/app/experiment.h"
#include "sim/app/experiment_world.h"
#include "sim/app/training_watch.h"
#include "sim/base/observer.h"
#include "sim/engine/simulation.h"
#include "sim/model/step_cost.h"
#include "sim/report/summary.h"

namespace alchemist {

// Prices serving steps by the experiment's profile if it has one, else by the roofline of its hardware. ConfigError if
// the profile cannot be read or does not fit the experiment.
std::unique_ptr<StepCost> make_step_cost(const Experiment& experiment);

// What is known of the run before it starts, for its results.
RunInfo run_info(const Experiment& experiment);

struct RunResult {
  SimulationTotals totals;
  TrainingTotals training;
  std::vector<std::string> warnings;  // for the user, one sentence each
};

// What the totals of a run, simulated or real, mean for its results; `watch` has seen it. ConfigError if no request
// came.
RunResult run_result(const SimulationTotals& totals, const ExperimentWorld& world, const TrainingWatch& watch,
                     const std::vector<std::string>& cost_warnings);

struct RunOptions {
  NodeRecorder::Sink record_events;  // if not empty: gets the lines of the nodes' log (sim/node/node_log.h)
  World planned_for = World::kSimulated;
  PriceFactors factors;
};

// Runs it. ConfigError if the workload cannot be made or yields no request.
RunResult run_experiment(const Experiment& experiment, RunObserver& observer, const RunOptions& options = {});

struct RunReport {
  Summary summary;
  std::vector<std::string> warnings;
};

// Has `run` run under observers that make a summary and, if there is a directory, all result files of it. `watcher`, if
// any, sees the run too.
RunReport report_run(const RunInfo& info, const Experiment& experiment, const std::optional<std::filesystem::path>& out,
                     bool trace_events, RunObserver* watcher, const std::function<RunResult(RunObserver&)>& run);

// Runs it, and writes all results to a directory (none: no files). Prints nothing; `watcher`, if any, sees the run.
RunReport run_with_results(const Experiment& experiment, const std::optional<std::filesystem::path>& out,
                           bool trace_events, RunObserver* watcher = nullptr, const RunOptions& options = {});

// The same for people: warnings and progress on stderr, and the nodes' log (sim/app/event_log.h) where a file is named.
Summary run_and_report(const Experiment& experiment, const std::optional<std::filesystem::path>& out, bool trace_events,
                       RunObserver& watcher, const std::optional<std::filesystem::path>& event_log = {});

}  // namespace alchemist

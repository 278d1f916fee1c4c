#include "sim/sweep/sweep_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "sim/app/interruption.h"
#include "sim/app/option_checks.h"
#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/sweep/live_view.h"
#include "sim/sweep/rank_channel.h"
#include "sim/sweep/rank_executor.h"
#include "sim/sweep/sweep_directory.h"
#include "sim/sweep/sweep_report.h"
#include "sim/sweep/sweep_run.h"
#include "sim/sweep/sweep_search.h"
#include "sim/sweep/sweep_tables.h"
#include "sim/sweep/thread_executor.h"

namespace alchemist {

namespace {

struct SweepOptions {
  std::string sweep;
  SweepOverrides overrides;
  std::string out;
  std::optional<std::int64_t> jobs;
  bool resume = false;
};

// The text for the terminal.
std::string run_grid(SweepRun& run) {
  std::vector<std::int64_t> points;
  for (const SweepPoint& point : grid_points(run.spec())) points.push_back(run.add_point(point));
  run.evaluate(points, run.spec().seeds.size());
  return points_table(run);
}

std::string run_goal(SweepRun& run, const std::filesystem::path& directory) {
  const std::vector<SearchRound> rounds = run_search(run);
  write_search(directory, run, rounds);
  return search_table(run, rounds);
}

// Failed runs are no reason to write nothing, but one to say so at the end.
void report_failures(const std::vector<ResultRow>& rows, const std::filesystem::path& directory) {
  const auto is_failed = [](const ResultRow& row) { return !row.ok; };
  const auto is_ours = [](const ResultRow& row) { return !row.ok && row.message.starts_with(kInternalError); };
  const auto failed = std::count_if(rows.begin(), rows.end(), is_failed);
  if (failed == 0) return;
  const auto first = std::find_if(rows.begin(), rows.end(), is_failed);
  const std::string text =
      fmt::format("{} of {} runs failed; the first, point {} with seed {}: {} (all in {})", failed, rows.size(),
                  first->point, first->seed, first->message, (directory / "results.csv").string());
  if (std::any_of(rows.begin(), rows.end(), is_ours)) throw InternalError(text);
  throw ConfigError(text);
}

void run_sweep(const SweepSpec& spec, const SweepOptions& options, Executor& executor, Interruption& interruption) {
  SweepDirectory directory(options.out.empty() ? "out/" + spec.name : options.out, emit_sweep(spec), options.resume);
  std::string text;
  std::vector<ResultRow> rows;
  {
    LiveView view;
    SweepRun run(spec, {directory, executor, view, interruption});
    try {
      text = spec.goal ? run_goal(run, directory.path()) : run_grid(run);
      write_sweep_tables(directory.path(), run);
    } catch (const Interrupted& e) { throw ConfigError(view.summary(e.what())); } catch (const OutputError& e) {
      throw ConfigError(view.summary(e.what()));
    }
    rows = run.rows();
  }
  fmt::print("{}\n{} runs. Results: {}\n", text, rows.size(), directory.path().string());
  report_failures(rows, directory.path());
}

// Rank 0 of several hands out the runs, the others make them; a single process makes them on its threads.
void sweep(const SweepOptions& options) {
  std::optional<Interruption> interruption(std::in_place);  // before MPI starts threads, which inherit what is blocked
  const std::unique_ptr<RankChannel> ranks = RankChannel::open();
  if (ranks && ranks->rank() > 0) {
    interruption.reset();
    return serve_tasks(*ranks);
  }
  std::unique_ptr<Executor> executor;
  if (ranks && ranks->size() > 1) {
    executor = std::make_unique<RankExecutor>(*ranks);
  } else {
    executor =
        std::make_unique<ThreadExecutor>(options.jobs ? static_cast<std::size_t>(*options.jobs) : usable_cores());
  }
  run_sweep(load_sweep(options.sweep, options.overrides), options, *executor, *interruption);
}

}  // namespace

void add_sweep_command(CLI::App& app) {
  const auto options = std::make_shared<SweepOptions>();
  CLI::App* command = app.add_subcommand("sweep", "Run an experiment at many points, in parallel");
  command->add_option("SWEEP", options->sweep, "a built-in name (see `alchemist list`) or a YAML file")->required();
  command->add_option("--trace", options->overrides.trace, "replay this trace file in place of the workload");
  command->add_option("--set", options->overrides.sets, "KEY.PATH=VALUE: change one key of all runs; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--grid", options->overrides.grids,
                   "KEY.PATH=[VALUE, ...]: values in place of the sweep's, or one axis more; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--seeds", options->overrides.seeds, "seeds in place of the sweep's: 1,2,3")
      ->delimiter(',')
      ->check(whole_number(0))
      ->allow_extra_args(false);
  command->add_option("--out", options->out, "directory of the results (out/SWEEP)");
  command
      ->add_option("--jobs", options->jobs,
                   "runs at the same time (all cores); under mpirun: one on each rank but the first")
      ->check(whole_number(1, 4096));
  command->add_flag("--resume", options->resume, "go on with a sweep that was stopped");
  command->callback([options] { sweep(*options); });
}

}  // namespace alchemist

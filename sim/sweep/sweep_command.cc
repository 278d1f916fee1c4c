#include "sim/sweep/sweep_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/sweep/live_view.h"
#include "sim/sweep/sweep_directory.h"
#include "sim/sweep/sweep_run.h"
#include "sim/sweep/sweep_tables.h"
#include "sim/sweep/thread_executor.h"

namespace alchemist {

namespace {

struct Options {
  std::string sweep;
  std::string out;
  std::optional<std::int64_t> jobs;
  bool resume = false;
};

void run_grid(SweepRun& run) {
  std::vector<std::int64_t> points;
  for (const SweepPoint& point : grid_points(run.spec())) points.push_back(run.add_point(point));
  run.evaluate(points, run.spec().seeds.size());
}

// Failed runs are no reason to write nothing, but one to say so at the end.
void report_failures(const std::vector<ResultRow>& rows, const std::filesystem::path& directory) {
  const auto failed = std::count_if(rows.begin(), rows.end(), [](const ResultRow& row) { return !row.ok; });
  if (failed == 0) return;
  const auto first = std::find_if(rows.begin(), rows.end(), [](const ResultRow& row) { return !row.ok; });
  const std::string text =
      fmt::format("{} of {} runs failed; the first, point {} with seed {}: {} (all in {})", failed, rows.size(),
                  first->point, first->seed, first->message, (directory / "results.csv").string());
  throw ConfigError(text);
}

void sweep(const Options& options) {
  const SweepSpec spec = load_sweep(options.sweep);
  const std::filesystem::path out = options.out.empty() ? "out/" + spec.name : options.out;
  SweepDirectory directory(out, emit_sweep(spec), options.resume);
  ThreadExecutor executor(options.jobs ? static_cast<std::size_t>(*options.jobs) : usable_cores());
  std::vector<ResultRow> rows;
  {
    LiveView view;
    SweepRun run(spec, directory, executor, view);
    run_grid(run);
    write_sweep_tables(directory.path(), run);
    rows = run.rows();
  }
  fmt::print("{} runs\nResults: {}\n", rows.size(), directory.path().string());
  report_failures(rows, directory.path());
}

}  // namespace

void add_sweep_command(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("sweep", "Run an experiment at many points, in parallel");
  command->add_option("SWEEP", options->sweep, "a built-in name (see `alchemist list`) or a YAML file")->required();
  command->add_option("--out", options->out, "directory of the results (out/SWEEP)");
  command->add_option("--jobs", options->jobs, "runs at the same time (all cores)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{4096}));
  command->add_flag("--resume", options->resume, "go on with a sweep that was stopped");
  command->callback([options] { sweep(*options); });
}

}  // namespace alchemist

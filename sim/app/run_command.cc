// alchemist run EXPERIMENT: one experiment, simulated.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "sim/app/cli.h"
#include "sim/app/experiment_options.h"
#include "sim/app/interruption.h"
#include "sim/app/run_experiment.h"
#include "sim/base/error.h"

namespace alchemist {
namespace {

namespace fs = std::filesystem;

bool is_summary_of_a_run(const fs::path& file) {
  std::ifstream in(file);
  const nlohmann::json summary = nlohmann::json::parse(in, nullptr, false);
  return summary.is_object() && summary.contains("schema") && summary.contains("engine");
}

// The results of an earlier run are replaced; what somebody else keeps in a folder is not mixed with ours.
void check_folder(const fs::path& out) {
  std::error_code error;  // says the writer
  if (!fs::is_directory(out, error)) return;
  if (fs::exists(out / "results.sqlite", error)) return;  // says report_run()
  if (fs::exists(out / "config.yaml", error) && is_summary_of_a_run(out / "summary.json")) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(out, error)) {
    if (entry.path().extension() == ".partial") continue;  // of a run that was killed
    throw ConfigError(
        fmt::format("{}: is not empty and has no results of an earlier run (config.yaml and summary.json); "
                    "choose another --out",
                    out.string()));
  }
}

}  // namespace

void add_run_command(CLI::App& app) {
  struct Arguments {
    ExperimentOptions experiment;
    std::string out;
    bool trace_events = false;
    bool json = false;
    std::string record_events;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("run", "Simulate one experiment and report its numbers");
  add_experiment_options(*command, arguments->experiment);
  command->add_option("--out", arguments->out, "directory for config.yaml, summary.json, requests.csv, …");
  command->add_flag("--trace-events", arguments->trace_events, "also write trace.json (opens in Perfetto)");
  command->add_flag("--json", arguments->json, "print the summary as JSON on stdout");
  command->add_option("--record-events", arguments->record_events,
                      "file for every event that the nodes are given and every command they answer with; "
                      "`alchemist replay FILE` feeds it to fresh nodes");
  command->callback([arguments] {
    if (arguments->trace_events && arguments->out.empty()) throw ConfigError("--trace-events: needs --out DIR");
    const Experiment experiment = load_experiment(arguments->experiment.name, arguments->experiment.overrides);
    std::optional<fs::path> out;
    if (!arguments->out.empty()) out = arguments->out;
    if (out) check_folder(*out);
    Interruption interruption;
    InterruptionWatch watch(interruption);
    std::optional<fs::path> log;
    if (!arguments->record_events.empty()) log = arguments->record_events;
    const Summary summary = run_and_report(experiment, out, arguments->trace_events, watch, log);
    fmt::print("{}", arguments->json ? summary_json(summary) : summary_table(summary));
    if (out && !arguments->json) fmt::print("\nResults: {}\n", out->string());
  });
}

}  // namespace alchemist

// alchemist run EXPERIMENT: one experiment, simulated.
#include <fmt/format.h>

#include <memory>

#include "sim/app/cli.h"
#include "sim/app/event_log.h"
#include "sim/app/experiment_options.h"
#include "sim/app/run_experiment.h"
#include "sim/base/error.h"

namespace alchemist {

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
    std::optional<std::filesystem::path> out;
    if (!arguments->out.empty()) out = arguments->out;
    std::optional<EventLogWriter> log;
    if (!arguments->record_events.empty()) log.emplace(arguments->record_events, experiment);
    const Summary summary =
        run_and_report(experiment, out, arguments->trace_events, log ? log->sink() : NodeRecorder::Sink());
    if (log) log->commit();
    fmt::print("{}", arguments->json ? summary_json(summary) : summary_table(summary));
    if (out && !arguments->json) fmt::print("\nResults: {}\n", out->string());
  });
}

}  // namespace alchemist

// alchemist validate EXPERIMENT: how far the simulation is from a real run.
#include <fmt/format.h>

#include <memory>

#include "sim/app/cli.h"
#include "sim/app/experiment_options.h"
#include "sim/app/run_experiment.h"
#include "sim/base/error.h"
#include "sim/base/observer_list.h"
#include "sim/report/compare.h"
#include "sim/report/progress.h"

namespace alchemist {

void add_validate_command(CLI::App& app) {
  struct Arguments {
    ExperimentOptions experiment;
    std::string measured;
    std::string out;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("validate", "Simulate an experiment and report the error of every latency against a real run");
  add_experiment_options(*command, arguments->experiment);
  command
      ->add_option("--measured", arguments->measured,
                   "CSV of the real run: request,input_length,output_length,queued_s,scheduled_s,first_token_s,"
                   "last_token_s")
      ->required();
  command->add_option("--out", arguments->out, "directory for comparison.json, comparison.csv and distribution.csv")
      ->required();
  command->callback([arguments] {
    const Experiment experiment = load_experiment(arguments->experiment.name, arguments->experiment.overrides);
    const std::vector<RequestTimes> measured = read_measured_requests(arguments->measured);
    RequestTimesRecorder recorder;
    ProgressLine progress(static_cast<std::int64_t>(measured.size()));
    ObserverList observers{&recorder, &progress};
    const RunResult result = run_experiment(experiment, observers);
    for (const std::string& warning : result.warnings) fmt::print(stderr, "alchemist: warning: {}\n", warning);
    const Comparison comparison = write_comparison(arguments->out, measured, recorder.take());
    fmt::print("{}\nResults: {}\n", comparison_table(comparison), arguments->out);
  });
}

}  // namespace alchemist

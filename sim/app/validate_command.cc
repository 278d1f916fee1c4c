// alchemist validate EXPERIMENT: how far the simulation is from a real run, somebody else's or our own.
#include <fmt/format.h>

#include <memory>

#include "sim/app/cli.h"
#include "sim/app/experiment_options.h"
#include "sim/app/measured_requests.h"
#include "sim/app/real_validation.h"
#include "sim/app/run_experiment.h"
#include "sim/app/yaml_reader.h"
#include "sim/base/error.h"
#include "sim/base/observer_list.h"
#include "sim/report/compare.h"
#include "sim/report/progress.h"
#include "sim/report/summary_comparison.h"

namespace alchemist {
namespace {

struct ValidateArguments {
  ExperimentOptions experiment;
  std::string measured;
  std::string device;
  std::string link;
  std::string out;
};

void print_warnings(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings) fmt::print(stderr, "alchemist: warning: {}\n", warning);
}

// What a client of vLLM measured says what came when, too, and is replayed unless --trace names something else.
void validate_measured(const ValidateArguments& arguments) {
  const MeasuredRequests measured = read_measured(arguments.measured);
  ExperimentOverrides overrides = arguments.experiment.overrides;
  if (measured.arrivals == ArrivalClock::kClient && !overrides.trace) overrides.trace = arguments.measured;
  const Experiment experiment = load_experiment(arguments.experiment.name, overrides);
  RequestTimesRecorder recorder(measured.arrivals);
  ProgressLine progress(static_cast<std::int64_t>(measured.run.requests.size()));
  ObserverList observers{&recorder, &progress};
  const RunResult result = run_experiment(experiment, observers);
  print_warnings(result.warnings);
  const Comparison comparison = write_comparison(arguments.out, measured.run, recorder.take());
  fmt::print("{}\nResults: {}\n", comparison_table(comparison), arguments.out);
}

void validate_device(const ValidateArguments& arguments) {
  const Experiment experiment = load_experiment(arguments.experiment.name, arguments.experiment.overrides);
  std::optional<double> link;
  if (!arguments.link.empty()) {
    link = YamlValue::parse(arguments.link, "--link").as_rate();
    if (*link < 1e6) throw ConfigError("--link: expected at least 1 MB/s");
  }
  const DeviceKind device = device_kinds().at(arguments.device);
  const RealValidation result = validate_on_device(experiment, device, link, arguments.out);
  print_warnings(result.warnings);
  std::string device_line = result.real.info.device;
  if (result.at_speed) {
    device_line += fmt::format("\nspeed: by probes between the operations, {:.3f} times as slow as in the calibration",
                               result.slowness);
  }
  fmt::print("{}\n{}\ndevice: {}\n{} events of the real run replayed: {} commands, all equal\nResults: {}\n",
             difference_table(compare_summaries(result.real, result.simulated, result.repriced, result.at_speed)),
             operation_table(result.operations), device_line, result.replayed.events, result.replayed.commands,
             arguments.out);
}

}  // namespace

void add_validate_command(CLI::App& app) {
  auto arguments = std::make_shared<ValidateArguments>();
  CLI::App* command = app.add_subcommand(
      "validate", "Report the error of a simulation against a real run: ours on --device, or one that was --measured");
  add_experiment_options(*command, arguments->experiment);
  CLI::Option* measured =
      command->add_option("--measured", arguments->measured,
                          "of the real run what `vllm bench serve --save-result --save-detailed` wrote, which is also "
                          "replayed unless --trace names another file; or CSV: request,input_length,output_length,"
                          "queued_s,scheduled_s,first_token_s,last_token_s");
  CLI::Option* device = command->add_option("--device", arguments->device, "run the experiment for real on this device")
                            ->check(CLI::IsMember(device_kinds()))
                            ->excludes(measured);
  command->add_option("--link", arguments->link, "emulate a link of this rate in each direction, such as \"5 GB/s\"")
      ->needs(device);
  command->add_option("--out", arguments->out, "directory for the comparison and the results of the runs")->required();
  command->callback([arguments] {
    if (arguments->measured.empty() && arguments->device.empty()) {
      throw ConfigError("validate: expected --device or --measured FILE");
    }
    arguments->device.empty() ? validate_measured(*arguments) : validate_device(*arguments);
  });
}

}  // namespace alchemist

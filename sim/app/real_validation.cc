#include "sim/app/real_validation.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/app/calibrated_profile.h"
#include "sim/app/event_log.h"
#include "sim/app/experiment_world.h"
#include "sim/app/run_experiment.h"
#include "sim/base/error.h"
#include "sim/base/observer_list.h"
#include "sim/report/output_file.h"
#include "sim/report/progress.h"
#include "sim/report/summary_comparison.h"
#include "validate/real_run.h"
#include "validate/warm_up.h"
#include "workloads/workload_source.h"

namespace alchemist {
namespace {

void check_real_run(const Experiment& experiment, const PolicySpec& policy) {
  if (policy.beside()) {
    throw ConfigError(fmt::format("policy {}: train: beside is simulated only, expected another policy", policy.name));
  }
  if (experiment.cluster.gpus != 1) {
    throw ConfigError(
        fmt::format("cluster.gpus: a real run has one device, expected 1, got {}", experiment.cluster.gpus));
  }
  if (!experiment.hardware.host_memory_pinned) {
    throw ConfigError("hardware.host_memory_pinned: a real run pins what it copies, expected true");
  }
  if (experiment.training.objective != TrainingObjective::sft || experiment.training.uses_reference()) {
    throw ConfigError(
        "training.objective: a real run trains on the answers that were served, expected sft without reference_model");
  }
}

// 0 without training.
std::int64_t micro_batch_tokens(const ExperimentWorld& world) {
  const auto& training = world.config().training;
  return training ? training->trainer.micro_batch_tokens : 0;
}

DecoderOptions decoder_options(const Experiment& experiment, const ExperimentWorld& world) {
  DecoderOptions options;
  options.shape = experiment.model;
  options.training = training_shape_of(experiment.training);
  options.seed = static_cast<std::uint64_t>(experiment.seed);
  options.limits.step_tokens = experiment.serving.max_num_batched_tokens;
  options.limits.step_sequences = experiment.serving.max_num_seqs;
  options.limits.micro_batch_tokens = std::max(micro_batch_tokens(world), max_model_len(experiment));
  options.limits.block_size = experiment.serving.block_size;
  options.repeat_decodes = experiment.serving.cuda_graphs;
  options.train = world.policy().trains();
  return options;
}

// A link of this bandwidth in each direction, whatever the other does.
Experiment with_link(Experiment experiment, std::optional<double> bandwidth) {
  if (!bandwidth) return experiment;
  experiment.hardware.link_h2d_bandwidth = experiment.hardware.link_d2h_bandwidth = *bandwidth;
  experiment.hardware.link_pageable_bandwidth = *bandwidth;
  experiment.hardware.link_duplex_bandwidth = 2 * *bandwidth;
  return experiment;
}

// Steps are priced without the host's time: what is compared is the device's.
std::unique_ptr<StepCost> device_step_cost(Experiment experiment) {
  experiment.hardware.step_overhead = Duration();
  return make_step_cost(experiment);
}

OperationPrices make_operation_prices(const StepCost& steps, const SimulationConfig& config) {
  const ColdStart& cold = config.host.cold_start;
  if (!config.training) return {steps, nullptr, TurnCosts(cold, 1)};
  return {steps, config.training->cost, TurnCosts(cold, config.training->link.copy_slowdown)};
}

struct RealReport {
  RunReport run;
  std::vector<OperationPrices::Timed> operations;
};

RealReport run_real(const Experiment& experiment, DeviceKind device, std::optional<LinkPace> pace,
                    const std::filesystem::path& out) {
  const ExperimentWorld world(experiment, World::kReal);
  check_real_run(experiment, world.policy());
  RealModel model(device, decoder_options(experiment, world), experiment.hardware.memory.count());
  const auto new_workload = [&] {
    return make_source(experiment.workload, static_cast<std::uint64_t>(experiment.seed));
  };
  ExpectedRequests expected;
  if (device != DeviceKind::cpu) {
    const std::int64_t tile = model.decoder().device().token_tile();
    expected = expected_requests(*new_workload(), tile, micro_batch_tokens(world));
    warm_up(model.decoder(), tile, expected.rests);
  }
  const std::unique_ptr<WorkloadSource> workload = new_workload();
  EventLogWriter log(out / "events.log", experiment, World::kReal);
  SimulationConfig config = world.config();
  config.record_events = log.sink();
  RunInfo info = run_info(experiment);
  info.device = model.description();
  if (pace) info.device += fmt::format("; link emulated at {:.3g} GB/s", pace->bandwidth * 1e-9);
  const std::unique_ptr<StepCost> step_cost = device_step_cost(experiment);
  OperationPrices prices = make_operation_prices(*step_cost, world.config());
  RunReport report;
  log.commit_after([&] {
    ProgressLine progress(std::nullopt);
    std::exception_ptr error;
    report = report_run(info, experiment, out / "real", true, &progress, [&](RunObserver& observer) {
      TrainingWatch watch;
      ObserverList observers{&observer, &watch};
      RealRun run(config, model.decoder(), pace, *workload, observers, prices);
      if (device != DeviceKind::cpu) warm_up_decodes(model.decoder(), run.arena(), config.kv_blocks, expected);
      const SimulationTotals totals = run.run();
      error = run.error();
      return run_result(totals, world, watch, {});
    });
    if (error) std::rethrow_exception(error);
  });
  return {report, prices.all()};
}

}  // namespace

RealValidation validate_on_device(const Experiment& original, DeviceKind device, std::optional<double> link_bandwidth,
                                  const std::filesystem::path& out) {
  const Experiment experiment = with_link(original, link_bandwidth);
  std::optional<LinkPace> pace;
  if (link_bandwidth) pace = LinkPace{*link_bandwidth, experiment.hardware.link_latency};
  RealValidation result;
  const auto [real, operations] = run_real(experiment, device, pace, out);
  RunOptions options;
  options.planned_for = World::kReal;
  const RunReport simulated = run_with_results(experiment, out / "simulated", true, nullptr, options);
  const OperationPrices::Sums sums = sums_of(operations);
  options.factors = factors_of(sums);
  result.repriced = run_with_results(experiment, out / "repriced", true, nullptr, options).summary;
  const auto with = experiment.profile ? calibrated_with(*experiment.profile) : std::nullopt;
  if (const std::optional<SpeedLaw> calibrated = with ? with->speed : std::nullopt) {
    if (const std::optional<MachineSlowness> slowness = slowness_of(operations, *calibrated)) {
      result.slowness = slowness->mean;
      options.factors = slowness->factors;
      result.at_speed = run_with_results(experiment, out / "at_speed", true, nullptr, options).summary;
    }
  }
  result.replayed = replay_event_log((out / "events.log").string());
  result.real = real.summary;
  result.simulated = simulated.summary;
  result.operations = operations;
  for (const std::string& warning : real.warnings) result.warnings.push_back("real run: " + warning);
  for (const std::string& warning : simulated.warnings) result.warnings.push_back("simulated run: " + warning);
  ResultDirectory files(out);
  files.create("comparison.csv")
      .write(difference_csv(compare_summaries(result.real, result.simulated, result.repriced, result.at_speed)));
  files.create("operations.csv").write(operation_csv(sums));
  files.create("operation_times.csv").write(operation_times_csv(operations));
  files.commit();
  return result;
}

}  // namespace alchemist

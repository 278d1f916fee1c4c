#include "sim/app/run_experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "sim/app/calibrated_profile.h"
#include "sim/app/event_log.h"
#include "sim/app/experiment_world.h"
#include "sim/app/idle_keys.h"
#include "sim/base/error.h"
#include "sim/base/observer_list.h"
#include "sim/model/kernel_profile.h"
#include "sim/model/profile_cost.h"
#include "sim/model/roofline_cost.h"
#include "sim/report/metrics.h"
#include "sim/report/progress.h"
#include "sim/report/result_writer.h"
#include "workloads/workload_source.h"

namespace alchemist {
namespace {

KernelProfile read_profile(const Experiment& experiment) {
  const std::filesystem::path& path = *experiment.profile;
  const std::int32_t tensor_parallel = experiment.serving.tensor_parallel;
  if (!std::filesystem::is_directory(path)) return read_vidur_profile(path.string(), tensor_parallel);
  check_measured_split(experiment);
  KernelProfile profile = read_llmservingsim_profile(path.string());
  profile.tensor_parallel = tensor_parallel;
  return profile;
}

}  // namespace

std::unique_ptr<StepCost> make_step_cost(const Experiment& experiment) {
  const ServingConfig& serving = experiment.serving;
  if (!experiment.profile) {
    return std::make_unique<RooflineCost>(experiment.hardware, experiment.model, serving.tensor_parallel,
                                          serving.max_num_batched_tokens, serving.async_scheduling,
                                          served_adapters(experiment));
  }
  if (experiment.model.experts > 0) {
    throw ConfigError(
        fmt::format("profile {}: measured times are of dense layers, but {} has {} experts; expected a "
                    "dense model, or no profile",
                    experiment.profile->string(), experiment.model.name, experiment.model.experts));
  }
  ProfileCostOptions options;
  options.max_num_batched_tokens = serving.max_num_batched_tokens;
  options.max_num_seqs = serving.max_num_seqs;
  options.max_context = static_cast<std::int32_t>(max_model_len(experiment));
  options.tensor_parallel = serving.tensor_parallel;
  // Steps that our own backend captured are of the very sizes that came, none padded to a larger one.
  const std::optional<CalibratedWith> with = calibrated_with(*experiment.profile);
  options.cuda_graphs = serving.cuda_graphs && !(with && with->cuda_graphs);
  options.async_scheduling = serving.async_scheduling;
  return std::make_unique<ProfileCost>(read_profile(experiment), experiment.hardware, experiment.model, options);
}

RunInfo run_info(const Experiment& experiment) {
  RunInfo info;
  info.seed = static_cast<std::uint64_t>(experiment.seed);
  info.hardware = experiment.hardware.name;
  info.model = experiment.model.name;
  info.policy = experiment.policy.name;
  info.slo = {experiment.slo.ttft, experiment.slo.tpot, experiment.slo.itl, experiment.slo.e2e};
  info.replicas = experiment.cluster.gpus / experiment.serving.tensor_parallel;
  info.gpus_per_replica = experiment.serving.tensor_parallel;
  info.gpu_memory = experiment.hardware.memory;
  info.link_h2d_bandwidth = experiment.hardware.link_h2d_bandwidth;
  info.link_d2h_bandwidth = experiment.hardware.link_d2h_bandwidth;
  return info;
}

RunResult run_result(const SimulationTotals& totals, const ExperimentWorld& world, const TrainingWatch& watch,
                     const std::vector<std::string>& cost_warnings) {
  RunResult result;
  result.totals = totals;
  if (totals.arrived == 0)
    throw ConfigError("key workload: yields no request; expected more time (duration), or a higher rate");
  if (const std::optional<TrainingWorld>& training = world.training()) {
    result.training.max_tokens = training->largest_batch(world.config().kv_blocks, totals);
    result.training.bound_train_tokens_per_s = training->bound_tokens_per_s(totals);
    const std::int32_t gpus_of_a_replica = world.config().serving.tensor_parallel;
    result.training.preemptions = totals.trainer.preemptions;
    result.training.hedge_wasted_bytes = totals.store.wasted_copies * gpus_of_a_replica;
    // Copies share a link: what each took from its start to its end would count the same time several times.
    result.training.hedge_wasted_time = Duration::seconds(result.training.hedge_wasted_bytes.as_double() /
                                                          world.config().training->store.link_bandwidth);
  }
  result.warnings = training_warnings(totals, world, watch);
  for (const std::string& warning : cost_warnings) result.warnings.push_back(warning);
  if (world.training()) {
    for (std::string& warning : world.training()->cost_warnings()) result.warnings.push_back(std::move(warning));
  }
  if (totals.rejected > 0) {
    const SimulationConfig& config = world.config();
    const std::int64_t by_length = *config.serving.max_model_len;
    const std::int64_t by_memory = static_cast<std::int64_t>(config.kv_blocks) * config.serving.block_size;
    result.warnings.push_back(fmt::format(
        "{} of {} requests were refused: prompt and answer together exceed {} tokens, the most that one request may "
        "have ({})",
        totals.rejected, totals.arrived, std::min(by_length, by_memory),
        by_memory < by_length ? "the KV blocks of one GPU, less what training takes for good" : "max_model_len"));
  }
  return result;
}

RunResult run_experiment(const Experiment& experiment, RunObserver& observer, const RunOptions& options) {
  const std::unique_ptr<StepCost> cost = make_step_cost(experiment);
  const std::unique_ptr<WorkloadSource> workload =
      make_source(experiment.workload, static_cast<std::uint64_t>(experiment.seed));
  const ExperimentWorld world(experiment, options.planned_for);
  SimulationConfig config = world.config();
  config.record_events = options.record_events;
  config.host.factors = options.factors;
  TrainingWatch watch;
  ObserverList observers{&observer, &watch};
  const SimulationTotals totals = Simulation(config, *cost, *workload, observers).run();
  std::vector<std::string> warnings = cost->warnings();
  for (std::string& warning : profile_warnings(experiment)) warnings.push_back(std::move(warning));
  for (std::string& warning : idle_key_warnings(experiment)) warnings.push_back(std::move(warning));
  return run_result(totals, world, watch, warnings);
}

RunReport report_run(const RunInfo& info, const Experiment& experiment, const std::optional<std::filesystem::path>& out,
                     bool trace_events, RunObserver* watcher, const std::function<RunResult(RunObserver&)>& run) {
  RunMetrics metrics(info);
  ObserverList observers{&metrics};
  if (watcher != nullptr) observers.add(watcher);
  std::optional<ResultWriter> writer;
  if (out) {
    std::error_code unknown;  // says the writer
    if (std::filesystem::exists(*out / "results.sqlite", unknown)) {
      throw ConfigError(fmt::format("{}: has the results of a sweep; choose another --out", out->string()));
    }
    writer.emplace(*out, info.slo, trace_events);
    observers.add(&*writer);
  }
  RunResult result = run(observers);
  Summary summary = metrics.summary(result.training);
  summary.refused = result.totals.rejected;
  summary.feedback_samples = result.totals.feedback_samples;
  if (writer) writer->commit(summary, emit_experiment(experiment));
  return {summary, std::move(result.warnings)};
}

RunReport run_with_results(const Experiment& experiment, const std::optional<std::filesystem::path>& out,
                           bool trace_events, RunObserver* watcher, const RunOptions& options) {
  return report_run(run_info(experiment), experiment, out, trace_events, watcher,
                    [&](RunObserver& observers) { return run_experiment(experiment, observers, options); });
}

Summary run_and_report(const Experiment& experiment, const std::optional<std::filesystem::path>& out, bool trace_events,
                       RunObserver& watcher, const std::optional<std::filesystem::path>& event_log) {
  RunOptions options;
  RunReport report;
  const auto run = [&] {
    ProgressLine progress(std::nullopt);
    ObserverList watchers{&progress, &watcher};
    report = run_with_results(experiment, out, trace_events, &watchers, options);
  };
  if (event_log) {
    EventLogWriter log(*event_log, experiment);
    options.record_events = log.sink();
    log.commit_after(run);
  } else {
    run();
  }
  for (const std::string& warning : report.warnings) fmt::print(stderr, "alchemist: warning: {}\n", warning);
  std::error_code unknown;  // then nothing is said
  if (out && std::filesystem::exists(*out / "report.html", unknown)) {
    fmt::print(stderr, "alchemist: warning: {} shows an earlier run; `alchemist plot {}` makes it anew\n",
               (*out / "report.html").string(), out->string());
  }
  return report.summary;
}

}  // namespace alchemist

#include "sim/app/run_experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "sim/app/policy_config.h"
#include "sim/app/training_setup.h"
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

KernelProfile read_profile(const std::filesystem::path& path, std::int32_t tensor_parallel) {
  if (!std::filesystem::is_directory(path)) return read_vidur_profile(path.string(), tensor_parallel);
  KernelProfile profile = read_llmservingsim_profile(path.string());
  if (profile.tensor_parallel != tensor_parallel) {
    throw ConfigError(fmt::format("profile {}: was taken on {} GPU, but serving.tensor_parallel is {}", path.string(),
                                  profile.tensor_parallel, tensor_parallel));
  }
  return profile;
}

// KV memory of a serving replica in blocks; `taken` is what training holds of it all the time.
std::int32_t kv_blocks(const Experiment& experiment, const MemoryPlan& plan, Bytes taken) {
  const Bytes block = plan.kv_per_token * experiment.serving.block_size;
  const std::int64_t blocks = (plan.kv_per_token * plan.kv_tokens - taken).count() / block.count();
  // vLLM counts its null block, which no request ever gets, among the blocks that it reports.
  if (blocks < 2) {
    throw ConfigError(
        "no room for KV blocks: weights and training state take the usable memory; use training.method "
        "lora, a smaller model, or a larger GPU");
  }
  return static_cast<std::int32_t>(blocks - 1);
}

SimulationConfig simulation_config(const Experiment& experiment, const PolicySpec& policy) {
  const MemoryPlan plan = memory_plan(experiment);
  const std::int32_t serving_gpus = experiment.cluster.gpus - (policy.separate ? experiment.cluster.training_gpus : 0);
  SimulationConfig config;
  config.serving = experiment.serving;
  config.serving.max_model_len = static_cast<std::int32_t>(max_model_len(experiment));
  config.kv_block_bytes = plan.kv_per_token * experiment.serving.block_size;
  config.weight_bytes = plan.weights;
  config.replicas = serving_gpus / experiment.serving.tensor_parallel;
  config.routing = experiment.cluster.routing;
  config.seed = static_cast<std::uint64_t>(experiment.seed);
  return config;
}

void check_cluster(const Experiment& experiment, const PolicySpec& policy) {
  const ClusterConfig& cluster = experiment.cluster;
  if (!policy.separate) return;
  if (cluster.training_gpus < 1 || cluster.training_gpus >= cluster.gpus) {
    throw ConfigError(
        fmt::format("policy {}: needs at least one GPU for each side; cluster.gpus is {}, of which "
                    "training_gpus {}",
                    policy.name, cluster.gpus, cluster.training_gpus));
  }
}

}  // namespace

std::unique_ptr<StepCost> make_step_cost(const Experiment& experiment) {
  const ServingConfig& serving = experiment.serving;
  if (!experiment.profile) {
    return std::make_unique<RooflineCost>(experiment.hardware, experiment.model, serving.tensor_parallel,
                                          serving.max_num_batched_tokens, serving.async_scheduling);
  }
  ProfileCostOptions options;
  options.max_num_batched_tokens = serving.max_num_batched_tokens;
  options.max_num_seqs = serving.max_num_seqs;
  options.max_context = static_cast<std::int32_t>(max_model_len(experiment));
  options.tensor_parallel = serving.tensor_parallel;
  options.cuda_graphs = serving.cuda_graphs;
  options.async_scheduling = serving.async_scheduling;
  return std::make_unique<ProfileCost>(read_profile(*experiment.profile, serving.tensor_parallel), experiment.hardware,
                                       experiment.model, options);
}

RunInfo run_info(const Experiment& experiment) {
  RunInfo info;
  info.seed = static_cast<std::uint64_t>(experiment.seed);
  info.hardware = experiment.hardware.name;
  info.model = experiment.model.name;
  info.policy = experiment.policy;
  info.slo = {experiment.slo.ttft, experiment.slo.tpot, experiment.slo.itl, experiment.slo.e2e};
  info.replicas = experiment.cluster.gpus / experiment.serving.tensor_parallel;
  info.gpu_memory = experiment.hardware.memory * experiment.serving.tensor_parallel;
  info.link_h2d_bandwidth = experiment.hardware.link_h2d_bandwidth;
  info.link_d2h_bandwidth = experiment.hardware.link_d2h_bandwidth;
  return info;
}

RunResult run_experiment(const Experiment& experiment, RunObserver& observer) {
  const std::unique_ptr<StepCost> cost = make_step_cost(experiment);
  const std::unique_ptr<WorkloadSource> workload =
      make_source(experiment.workload, static_cast<std::uint64_t>(experiment.seed));
  const PolicySpec policy = load_policy(experiment.policy);
  check_cluster(experiment, policy);
  SimulationConfig config = simulation_config(experiment, policy);
  std::optional<TrainingWorld> training;
  if (policy.trains()) training.emplace(experiment, policy, config.kv_block_bytes);
  const bool serving_pays = training && !policy.separate;
  config.kv_blocks = kv_blocks(experiment, memory_plan(experiment), serving_pays ? training->static_bytes() : Bytes());
  if (training) config.training = training->setup(config.kv_blocks);
  RunResult result;
  result.totals = Simulation(config, *cost, *workload, observer).run();
  if (training) {
    result.training.max_tokens = training->largest_batch(config.kv_blocks, result.totals);
    result.training.bound_train_tokens_per_s = training->bound_tokens_per_s(result.totals);
    result.training.hedge_wasted_bytes = result.totals.store.wasted_copies;
    result.training.hedge_wasted_time = result.totals.store.wasted_copy_time;
    if (result.totals.trainer.too_long > 0) {
      result.warnings.push_back(
          fmt::format("{} samples were too long to train: their activations do not fit the memory",
                      result.totals.trainer.too_long));
    }
    if (result.totals.trainer.queued_samples > 0) {
      result.warnings.push_back(fmt::format(
          "training does not keep up, or had no full batch left: {} of {} samples whose feedback came were not trained",
          result.totals.trainer.queued_samples, result.totals.feedback_samples));
    }
  }
  if (result.totals.arrived == 0) throw ConfigError("the workload yields no request");
  for (const std::string& warning : cost->warnings()) result.warnings.push_back(warning);
  if (result.totals.rejected > 0) {
    result.warnings.push_back(
        fmt::format("{} of {} requests were refused: prompt and answer together exceed {} tokens, the most that one "
                    "request may have",
                    result.totals.rejected, result.totals.arrived, *config.serving.max_model_len));
  }
  return result;
}

Summary run_and_report(const Experiment& experiment, const std::optional<std::filesystem::path>& out,
                       bool trace_events) {
  RunMetrics metrics(run_info(experiment));
  ProgressLine progress(std::nullopt);
  ObserverList observers{&metrics, &progress};
  std::optional<ResultWriter> writer;
  if (out) {
    writer.emplace(*out, run_info(experiment).slo, trace_events);
    observers.add(&*writer);
  }
  const RunResult result = run_experiment(experiment, observers);
  for (const std::string& warning : result.warnings) fmt::print(stderr, "alchemist: warning: {}\n", warning);
  const Summary summary = metrics.summary(result.training);
  if (writer) writer->commit(summary, emit_experiment(experiment));
  return summary;
}

}  // namespace alchemist

#include "sim/app/experiment_world.h"

#include <fmt/format.h>

#include "sim/app/conflict_error.h"
#include "sim/app/gib.h"

namespace alchemist {
namespace {

// KV memory of a serving replica in blocks; `taken` is what training holds of it all the time.
std::int32_t kv_blocks(const Experiment& experiment, const MemoryPlan& plan, Bytes taken) {
  const Bytes block = plan.kv_per_token * experiment.serving.block_size;
  const std::int64_t blocks = (plan.kv_per_token * plan.kv_tokens - taken).count() / block.count();
  // vLLM counts its null block, which no request ever gets, among the blocks that it reports.
  if (blocks < 2 && experiment.serving.kv_cache_tokens) {
    throw ConflictError(
        "serving.kv_cache_tokens",
        fmt::format("{} tokens are all the memory that serving and training beside it share, and training takes as "
                    "much as {} of them for good; expected more, or auto",
                    plan.kv_tokens, (taken.count() + plan.kv_per_token.count() - 1) / plan.kv_per_token.count()));
  }
  if (blocks < 2) {
    const bool full = experiment.training.method == TrainingMethod::full;
    throw ConflictError(
        "training",
        fmt::format(
            "no room for KV blocks: of {} that gpu_memory_utilization leaves, weights take {}, a step's working "
            "memory and libraries {}, and training {} for good; use {}a smaller model, or a larger GPU",
            gib(plan.usable), gib(plan.weights), gib(plan.workspace + plan.reserve), gib(taken),
            full ? "training.method lora, " : ""));
  }
  return static_cast<std::int32_t>(blocks - 1);
}

SimulationConfig simulation_config(const Experiment& experiment, const PolicySpec& policy, World world) {
  const MemoryPlan plan = memory_plan(experiment);
  const std::int32_t serving_gpus = experiment.cluster.gpus - gpus_apart(experiment.cluster, policy);
  SimulationConfig config;
  config.serving = experiment.serving;
  config.serving.max_model_len = static_cast<std::int32_t>(max_model_len(experiment));
  config.serving.blocks_known_ahead = world == World::kReal;
  config.kv_block_bytes = plan.kv_per_token * experiment.serving.block_size;
  config.weight_bytes = plan.weights;
  config.replicas = serving_gpus / experiment.serving.tensor_parallel;
  config.routing = experiment.cluster.routing;
  const HardwareSpec& hardware = experiment.hardware;
  config.host.cold_start = {hardware.serving_cold_start, hardware.cold_start_steps, hardware.cold_piece_tokens,
                            hardware.cold_prompt_tokens, hardware.cold_idle,        hardware.training_cold_start};
  config.seed = static_cast<std::uint64_t>(experiment.seed);
  return config;
}

void check_cluster(const Experiment& experiment, const PolicySpec& policy) {
  const ClusterConfig& cluster = experiment.cluster;
  if (!policy.separate) return;
  if (cluster.training_gpus < 1 || cluster.training_gpus >= cluster.gpus) {
    throw ConflictError("policy", fmt::format("{} needs at least one GPU for each side; cluster.gpus is {}, of which "
                                              "training_gpus {}",
                                              policy.name, cluster.gpus, cluster.training_gpus));
  }
}

}  // namespace

std::int32_t gpus_apart(const ClusterConfig& cluster, const PolicySpec& policy) {
  return policy.separate ? cluster.training_gpus : 0;
}

ExperimentWorld::ExperimentWorld(const Experiment& experiment, World world) : policy_(load_policy(experiment.policy)) {
  check_cluster(experiment, policy_);
  config_ = simulation_config(experiment, policy_, world);
  if (policy_.trains()) training_.emplace(experiment, policy_, config_.kv_block_bytes);
  config_.kv_blocks = kv_blocks(experiment, memory_plan(experiment), held_by_training());
  if (training_) config_.training = training_->setup(config_.kv_blocks);
}

}  // namespace alchemist

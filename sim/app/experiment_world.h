// The nodes of an experiment and what surrounds them: memory, policy, costs of training. The same for a run, simulated
// or real, and for its replay.
#pragma once

#include <cstdint>
#include <optional>

#include "sim/app/experiment.h"
#include "sim/app/policy_config.h"
#include "sim/app/training_setup.h"
#include "sim/engine/simulation.h"

namespace alchemist {

// Whose operations its nodes plan. A real host wants to know the KV blocks of a run ahead, which ends runs of decode
// steps earlier: what is to be compared with a real run has to plan as it does.
enum class World { kSimulated, kReal };

// The GPUs that serve nothing, as policies that train on GPUs of their own have them; the others serve and train on
// all.
std::int32_t gpus_apart(const ClusterConfig& cluster, const PolicySpec& policy);

class ExperimentWorld {
 public:
  // ConflictError if the cluster cannot run the policy, or if weights and training state leave no room for KV blocks;
  // an experiment that was read from YAML has been tried.
  explicit ExperimentWorld(const Experiment& experiment, World world = World::kSimulated);
  ExperimentWorld(const ExperimentWorld&) = delete;
  ExperimentWorld& operator=(const ExperimentWorld&) = delete;

  const PolicySpec& policy() const { return policy_; }
  // Points at costs that the world owns.
  const SimulationConfig& config() const { return config_; }
  const std::optional<TrainingWorld>& training() const { return training_; }  // none: the policy does not train
  // Of each serving GPU: what training holds for good, and what that leaves to keys and values and to records.
  Bytes held_by_training() const { return training_ && !policy_.separate ? training_->static_bytes() : Bytes(); }
  Bytes kv_bytes() const { return config_.kv_block_bytes * config_.kv_blocks; }

 private:
  PolicySpec policy_;
  std::optional<TrainingWorld> training_;
  SimulationConfig config_;
};

}  // namespace alchemist

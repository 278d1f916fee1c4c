// What a policy that trains needs of the simulation: costs, estimates, memory, and the bounds that results are compared
// with. All bytes are of one GPU: where a replica is several (serving.tensor_parallel), each holds its part of every
// record and copies it over a link of its own into its own share of the host's memory, all at the same time. As for
// replicas, the host's memory is assumed to keep up with all links: on a DGX H200 eight of 55 GB/s are 440 GB/s, and
// its 16 channels of DDR5-4800 have 614 GB/s.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/app/experiment.h"
#include "sim/app/policy_config.h"
#include "sim/engine/simulation.h"
#include "sim/model/step_cost.h"
#include "sim/model/training_cost.h"
#include "sim/policy/estimator.h"
#include "sim/report/summary.h"

namespace alchemist {

// Believes what the simulator charges, but knows nothing of what else uses GPU and link at the time.
class CostEstimator final : public Estimator {
 public:
  CostEstimator(const TrainingCost& cost, const HardwareSpec& hardware) : cost_(cost), hardware_(hardware) {}
  Duration piece(const TrainingPiece& piece) const override { return cost_.piece(piece); }
  Duration copy(LinkDirection direction, Bytes bytes) const override;

 private:
  const TrainingCost& cost_;
  HardwareSpec hardware_;
};

class TrainingWorld {
 public:
  // `page_bytes`: of one KV block. ConfigError if the training state does not fit beside the weights.
  TrainingWorld(const Experiment& experiment, const PolicySpec& policy, Bytes page_bytes);

  // Memory of each training GPU that never changes hands: gradients, optimizer state, workspace.
  Bytes static_bytes() const { return static_bytes_; }
  // `kv_blocks`: of a serving replica, the static bytes already taken off.
  TrainingSetup setup(std::int32_t kv_blocks) const;
  // Largest number of tokens of one batch, over all GPUs that train, whose activations find room beside what serving
  // used at its peak. For policies that record it takes the best case: every prompt has its record, and answers, which
  // were decoded, have none; with checkpoints it has no records.
  std::int64_t largest_batch(std::int32_t kv_blocks, const SimulationTotals& totals) const;
  // No policy trains more tokens in the run: relaxed so that all tokens whose feedback came are trained the moment it
  // comes, restoring costs nothing, serving takes no time, and every matrix product runs at its peak rate without
  // attention and all-reduces. Tokens per second of the run.
  double bound_tokens_per_s(const SimulationTotals& totals) const;
  // What the user should know of the prices of the run that is over.
  std::vector<std::string> cost_warnings() const { return cost_->warnings(); }

 private:
  std::int32_t kept_versions() const;
  Bytes kept_bytes() const;
  std::int64_t reserved_tokens() const;

  Experiment experiment_;
  PolicySpec policy_;
  Bytes page_bytes_;
  std::int32_t replicas_;  // that train
  std::int64_t micro_batch_tokens_;
  std::unique_ptr<TrainingCost> cost_;
  std::unique_ptr<TrainingCost> beside_cost_;  // on its share of the SMs
  std::unique_ptr<StepCost> beside_serving_;   // on the rest of them
  std::unique_ptr<CostEstimator> estimator_;
  Bytes static_bytes_;
  std::int32_t separate_pages_ = 0;
};

TrainingShape training_shape_of(const TrainingConfig& training);
// The adapters that serving runs beside the weights, if it does.
std::optional<TrainingShape> served_adapters(const Experiment& experiment);

}  // namespace alchemist

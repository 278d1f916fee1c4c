// What there is to say of training at the end of a run, if it trained less than it was given.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/app/experiment_world.h"
#include "sim/base/observer.h"
#include "sim/engine/simulation.h"
#include "sim/report/distribution.h"

namespace alchemist {

// Sees a run and keeps what it takes to say why nothing was trained.
class TrainingWatch final : public RunObserver {
 public:
  void on_serving_span(const ServingSpan& span) override;
  void on_training_step(const TrainingStep&) override { ++steps_; }

  std::int64_t steps() const { return steps_; }
  // The nanoseconds of steps that computed no prompt.
  const Distribution& decode_steps() const { return decode_steps_; }

 private:
  std::int64_t steps_ = 0;
  Distribution decode_steps_;
};

// For the user, one sentence each; none if the policy does not train or all feedback was trained.
std::vector<std::string> training_warnings(const SimulationTotals& totals, const ExperimentWorld& world,
                                           const TrainingWatch& watch);

}  // namespace alchemist

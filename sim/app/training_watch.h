// What there is to say of training at the end of a run, if it trained less than it was given, or reused hardly
// anything.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/app/experiment_world.h"
#include "sim/base/observer.h"
#include "sim/engine/simulation.h"
#include "sim/report/distribution.h"

namespace alchemist {

// Sees a run and keeps what it takes to say why that was.
class TrainingWatch final : public RunObserver {
 public:
  void on_serving_span(const ServingSpan& span) override;
  void on_training_step(const TrainingStep& step) override;

  std::int64_t steps() const { return steps_; }
  // Of all steps: tokens, those restored from a record, and those whose record was gone or too old.
  std::int64_t tokens() const { return tokens_; }
  std::int64_t reused() const { return reused_; }
  std::int64_t dropped() const { return dropped_; }
  // The nanoseconds of steps that computed no prompt.
  const Distribution& decode_steps() const { return decode_steps_; }

 private:
  std::int64_t steps_ = 0, tokens_ = 0, reused_ = 0, dropped_ = 0;
  Distribution decode_steps_;
};

// For the user, one sentence each; none if there is nothing to say, or the policy does not train.
std::vector<std::string> training_warnings(const SimulationTotals& totals, const ExperimentWorld& world,
                                           const TrainingWatch& watch);

}  // namespace alchemist

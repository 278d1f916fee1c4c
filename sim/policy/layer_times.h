// The times that a restore plan weighs against each other, as an estimator believes them.
#pragma once

#include <cstdint>

#include "sim/base/bytes.h"
#include "sim/policy/estimator.h"
#include "sim/policy/restore_plan.h"

namespace alchemist {

// One micro-batch, as far as restoring its activations goes.
struct RestoreDemand {
  std::int32_t layers = 0;
  std::int64_t tokens = 0;            // >= recorded
  std::int64_t targets = 0;           // of them, those with a loss
  double attended_keys = 0;           // summed over the tokens
  std::int64_t recorded = 0;          // tokens with a record somewhere
  double recorded_keys = 0;           // attended by them
  std::int64_t lean = 0;              // of them, those without gate and up
  std::int64_t recorded_targets = 0;  // of the targets, those with a record
  std::int64_t lean_targets = 0;      // of these, those without gate and up
  Bytes lean_per_token;               // of a lean record in all layers
  Bytes minimal_per_token;            // of a whole one
};

LayerTimes layer_times(const RestoreDemand& demand, const Estimator& estimator);

}  // namespace alchemist

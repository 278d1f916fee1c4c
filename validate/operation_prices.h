// What the simulator charges for the operations that a real device ran, beside what they took. It tells the two sources
// of a simulation's error apart: prices that are off, because of the calibration or because the machine is not as fast
// as it was then, and everything else. A simulation whose operations are charged `factors_of` times their price has
// only the second.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/base/batch.h"
#include "sim/base/training_piece.h"
#include "sim/engine/operation_kind.h"
#include "sim/engine/price_factors.h"
#include "sim/engine/turn_costs.h"
#include "sim/model/step_cost.h"
#include "sim/model/training_cost.h"
#include "validate/machine_speed.h"

namespace alchemist {

class OperationPrices {
 public:
  struct Sum {
    std::int64_t count = 0;
    Duration took;
    Duration priced;
  };
  using Sums = ByOperation<Sum>;

  // How an operation ran on the device.
  struct Run {
    Time start;
    Duration took;
    Duration copying;     // how long of it copies were in flight
    double probe_us = 0;  // of the machine's speed right before it (machine_speed.h); 0: not measured
  };

  struct Timed {
    OperationKind kind;
    std::int64_t tokens = 0;   // parameters of an optimizer piece
    double attended_keys = 0;  // by all its tokens; 0 for steps
    // None of its kind with as many tokens ran before: libraries may choose kernels, and load them, for each new shape.
    bool new_size = false;
    Run run;
    Duration priced;
  };

  // `serving` prices the device's time alone, without host time; `training`: none if nobody trains. Both outlive this.
  OperationPrices(const StepCost& serving, const TrainingCost* training, const TurnCosts& turns)
      : serving_(serving), training_(training), turns_(turns) {}

  // An operation is over; to be told in the order in which they ran. `idle`: how long nothing ran before the step;
  // `recorded`: bytes that it kept for training.
  void step(const BatchShape& shape, Duration idle, Bytes recorded, const Run& run);
  // What of the price of a step is for keeping so much: a real step does not tell what that added to it.
  Duration recording(Bytes recorded) const;
  void piece(const TrainingPiece& piece, const Run& run);

  const std::vector<Timed>& all() const { return all_; }  // in the order in which they ran

 private:
  void add(Timed operation);

  const StepCost& serving_;
  const TrainingCost* training_;
  TurnCosts turns_;
  std::vector<Timed> all_;
  std::set<std::pair<OperationKind, std::int64_t>> sizes_;
};

OperationPrices::Sums sums_of(const std::vector<OperationPrices::Timed>& operations);

// took / priced; 1 for kinds that did not run.
PriceFactors factors_of(const OperationPrices::Sums& sums);

// By how much the machine was slower than in the calibration that prices these operations, going by the probes before
// them alone; none if that is not known.
struct MachineSlowness {
  double mean = 1;       // over what they are priced
  PriceFactors factors;  // from the start of each to that of the next
};
std::optional<MachineSlowness> slowness_of(const std::vector<OperationPrices::Timed>& operations,
                                           const SpeedLaw& calibrated);

// For people: sums, and the same of those that were the first of their size. Kinds that did not run are left out.
std::string operation_table(const std::vector<OperationPrices::Timed>& operations);
std::string operation_csv(const OperationPrices::Sums& sums);  // operation,count,real_s,priced_s,error
// operation,tokens,attended_keys,new_size,start_s,copying_us,real_us,priced_us,probe_us: each in a row.
std::string operation_times_csv(const std::vector<OperationPrices::Timed>& operations);

}  // namespace alchemist

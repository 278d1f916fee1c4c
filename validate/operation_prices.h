// What the simulator charges for the operations that a real device ran, beside what they took. It tells the two sources
// of a simulation's error apart: prices that are off, because of the calibration or because the machine is not as fast
// as it was then, and everything else. A simulation whose operations are charged `factors_of` times their price has
// only the second.
#pragma once

#include <cstdint>
#include <string>

#include "sim/base/batch.h"
#include "sim/base/training_piece.h"
#include "sim/engine/operation_kind.h"
#include "sim/engine/turn_costs.h"
#include "sim/model/step_cost.h"
#include "sim/model/training_cost.h"

namespace alchemist {

class OperationPrices {
 public:
  struct Sum {
    std::int64_t count = 0;
    Duration took;
    Duration priced;
  };
  using Sums = ByOperation<Sum>;

  // `serving` prices the device's time alone, without host time; `training`: none if nobody trains. Both outlive this.
  OperationPrices(const StepCost& serving, const TrainingCost* training, const TurnCosts& turns)
      : serving_(serving), training_(training), turns_(turns) {}

  // An operation is over; to be told in the order in which they ran. `idle`: how long nothing ran before the step;
  // `recorded`: bytes that it kept for training; `copying`: a copy was in flight when it began; `took`: on the device.
  void step(const BatchShape& shape, Duration idle, Bytes recorded, bool copying, Duration took);
  void piece(const TrainingPiece& piece, bool copying, Duration took);

  const Sums& sums() const { return sums_; }

 private:
  void add(OperationKind kind, Duration took, Duration priced);

  const StepCost& serving_;
  const TrainingCost* training_;
  TurnCosts turns_;
  Sums sums_;
};

// took / priced; 1 for kinds that did not run.
OperationFactors factors_of(const OperationPrices::Sums& sums);

std::string operation_table(const OperationPrices::Sums& sums);  // for people; kinds that did not run are left out
std::string operation_csv(const OperationPrices::Sums& sums);    // operation,count,real_s,priced_s,error

}  // namespace alchemist

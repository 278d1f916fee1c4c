// How long a serving step takes. What the simulator charges; what a policy may believe is an Estimator.
#pragma once

#include "sim/base/batch.h"
#include "sim/base/time.h"

namespace alchemist {

class StepCost {
 public:
  virtual ~StepCost() = default;
  // GPU time of the kernels of one step plus the host time that they do not hide. > 0 for a shape that has tokens.
  virtual Duration step(const BatchShape& shape) const = 0;
};

}  // namespace alchemist

// Data-parallel training: what each of the replicas did is one training step.
#pragma once

#include <cstdint>
#include <optional>

#include "sim/base/observer.h"

namespace alchemist {

class StepBook {
 public:
  explicit StepBook(std::int32_t replicas) : replicas_(replicas) {}

  // A replica has updated its weights. The step if it was the last one to do so.
  std::optional<TrainingStep> add(const TrainingStep& part);
  // What has been added of a step that others had not ended when the run did.
  std::optional<TrainingStep> rest() const;

 private:
  std::int32_t replicas_;
  std::int32_t parts_ = 0;
  TrainingStep sum_;  // of the parts
};

}  // namespace alchemist

// What a policy may believe about costs. The simulator charges by cost models of its own; a policy that is told wrong
// estimates decides wrongly, as it would in the real world.
#pragma once

#include <cstdint>

#include "sim/base/bytes.h"
#include "sim/base/time.h"
#include "sim/base/training_piece.h"

namespace alchemist {

class Estimator {
 public:
  virtual ~Estimator() = default;
  virtual Duration piece(const TrainingPiece& piece) const = 0;
  // One transfer alone on the link.
  virtual Duration copy(LinkDirection direction, Bytes bytes) const = 0;
};

}  // namespace alchemist

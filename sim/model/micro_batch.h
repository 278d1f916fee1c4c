// How many tokens training runs through the layers at once.
#pragma once

#include <cstdint>

#include "sim/model/hardware.h"
#include "sim/model/model_shape.h"
#include "sim/model/training_shape.h"

namespace alchemist {

// Of a micro-batch where nobody says otherwise: 2,048 or, if that is more, so many that the products of a layer take at
// least four times as long as reading its weights does, rounded up to a power of two. A dense layer's take as long as
// that with FLOP/s / (bytes/s) tokens of 2-byte weights, some 200 on GPUs; a mixture of experts reads all of them for
// the arithmetic of a few.
std::int64_t usual_micro_batch_tokens(const HardwareSpec& hardware, const ModelShape& model,
                                      const TrainingShape& training, std::int64_t tensor_parallel = 1);

}  // namespace alchemist

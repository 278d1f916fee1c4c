// Before a run that is timed.
#pragma once

#include <cstdint>

#include "validate/decoder.h"

namespace alchemist {

// Runs steps and a micro-batch of several shapes, so that no request waits for libraries and kernels to be loaded. With
// a tile of more than one token, where libraries choose their kernels by size: decode steps of every size, and a layer
// of training for every multiple of the tile. The model's arena must not be in use; weights stay as they are, gradients
// are zero.
void warm_up(Decoder& model, std::int64_t tile = 1);

}  // namespace alchemist

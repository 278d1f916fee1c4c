// Before a run that is timed.
#pragma once

#include "validate/decoder.h"

namespace alchemist {

// Runs steps and a micro-batch of several shapes, so that no request waits for libraries and kernels to be loaded. The
// model's arena must not be in use; weights stay as they are, gradients are zero.
void warm_up(Decoder& model);

}  // namespace alchemist

// The first step of every backward of attention.
#pragma once

#include "kernels/attention.h"

namespace alchemist::cuda {

// Writes call.delta.
void output_delta(const AttentionBackward<BFloat16>& call, Stream stream);

}  // namespace alchemist::cuda

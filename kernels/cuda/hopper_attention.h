// Attention by Hopper's warpgroup products (compute capability 9.0), in the place of the kernels that run on every GPU.
#pragma once

#include "kernels/attention.h"

namespace alchemist::cuda {

// Whether there are such kernels for heads of this size.
bool hopper_attention_takes(int head_dim);

// As attention_forward() and attention_backward(), within bf16's rounding, and as they the same to the bit in every run.
void hopper_attention_forward(const AttentionForward<BFloat16>& call, Stream stream);
void hopper_attention_backward(const AttentionBackward<BFloat16>& call, Stream stream);

}  // namespace alchemist::cuda

// Attention by Hopper's warpgroup products (compute capability 9.0), in the place of the kernels that run on every GPU.
#pragma once

#include "kernels/attention.h"
#include "kernels/paged_attention.h"

namespace alchemist::cuda {

// Whether there are such kernels for heads of this size.
bool hopper_attention_takes(int head_dim);

// As attention_forward() and attention_backward(), within bf16's rounding, and as they the same to the bit in every
// run.
void hopper_attention_forward(const AttentionForward<BFloat16>& call, Stream stream);
void hopper_attention_backward(const AttentionBackward<BFloat16>& call, void* workspace, Stream stream);
// In bytes, the same for all lengths: memory that grows makes what was captured with it useless.
std::int64_t hopper_attention_workspace(const AttentionBackward<BFloat16>& call);

// Whether a step's chunks of prompts have enough queries, and blocks, to be worth it.
bool hopper_prefill_takes(const PagedAttention<BFloat16>& call);
// As paged_attention(); needs no workspace.
void hopper_prefill_attention(const PagedAttention<BFloat16>& call, Stream stream);

}  // namespace alchemist::cuda

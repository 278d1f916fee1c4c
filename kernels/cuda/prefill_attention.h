// The two halves of paged attention: chunks of several queries, and decodes of one query each.
#pragma once

#include <cmath>

#include "kernels/paged_attention.h"

namespace alchemist::cuda {

inline float attention_scale(int head_dim) { return 1.0F / std::sqrt(static_cast<float>(head_dim)); }

void prefill_attention(const PagedAttention<BFloat16>& call, Stream stream);

}  // namespace alchemist::cuda

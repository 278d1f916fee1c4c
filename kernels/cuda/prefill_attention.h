// The half of paged attention for chunks of several queries; decode_attention.cu has the other and chooses.
#pragma once

#include "kernels/paged_attention.h"

namespace alchemist::cuda {

void prefill_attention(const PagedAttention<BFloat16>& call, Stream stream);

}  // namespace alchemist::cuda

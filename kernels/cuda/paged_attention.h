// The two halves of paged attention: for one query a sequence, and for chunks of several. Where sequences are few, the
// keys of each are split over blocks, whose parts paged_attention.cu puts together: kPartFloats floats for split s,
// query q of sequence z, and head h, at ((z * splits + s) * max_queries + q) * heads + h.
#pragma once

#include "kernels/paged_attention.h"

namespace alchemist::cuda {

// Splits of each sequence's keys.
int decode_splits(const PagedAttention<BFloat16>& call);
int prefill_splits(const PagedAttention<BFloat16>& call);
// As many parts as there can be in any call for as many heads that splits keys.
std::int64_t decode_parts(const PagedAttention<BFloat16>& call);
std::int64_t prefill_parts();

// With one split the output itself is written, and `parts` may be null.
void decode_attention(const PagedAttention<BFloat16>& call, int splits, float* parts, Stream stream);
void prefill_attention(const PagedAttention<BFloat16>& call, int splits, float* parts, Stream stream);

}  // namespace alchemist::cuda

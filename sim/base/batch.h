// The shape of one serving step: what a cost model prices and what a kernel call is launched with.
#pragma once

#include <cstdint>
#include <span>

namespace alchemist {

// A run of prompt tokens of one request that a step computes.
struct PrefillChunk {
  std::int32_t tokens = 0;   // computed in this step, >= 1
  std::int32_t context = 0;  // tokens of the same request whose keys and values are already in the cache
};

// One step over a batch: each decoding request computes one token, each chunk its tokens. The decodes are described by
// aggregates, so that a step costs the same to price whatever the number of running requests.
struct BatchShape {
  std::span<const PrefillChunk> prefills;
  std::int32_t decodes = 0;             // requests that compute one token
  std::int64_t decode_context_sum = 0;  // tokens: sum over the decodes of the keys each attends to, its own included
  std::int32_t decode_context_max = 0;  // tokens: the longest of them
  std::int32_t sampled = 0;             // sequences that yield a token: the decodes and the prompts that end here

  std::int64_t prefill_tokens() const {
    std::int64_t sum = 0;
    for (const PrefillChunk& chunk : prefills) sum += chunk.tokens;
    return sum;
  }
  std::int64_t tokens() const { return prefill_tokens() + decodes; }
};

}  // namespace alchemist

// How many tokens one training batch may have before its activations find no room.
#pragma once

#include <cstdint>

#include "sim/base/bytes.h"

namespace alchemist {

// Memory of one training GPU, and where the activations of a token lie while its batch is trained.
struct BatchRoom {
  Bytes gpu;               // for activations: what weights, KV cache, gradients, optimizer and workspace leave
  Bytes host;              // pinned, for the activations that are not on the GPU
  Bytes resident;          // of `gpu`, the most that may be held before the batch begins
  Bytes per_token;         // all layers
  double fresh_share = 1;  // of the tokens: computed by the batch's own forward, on the GPU from then on
  double record_share =
      0;  // records' tokens for each token of the batch; sequences that share a prompt share its record
  double window_share = 1;  // of per_token: how much of a token from the host is on the GPU at once
};

// A record comes from the host as long as that has room, since it takes less of the GPU there, and was resident
// otherwise. With f = fresh_share, r = record_share, w = window_share, m = per_token the largest T obeys
//   T m (f + r w) <= gpu     and   T m r <= host;
// if the host is the one that is full, every further token takes m (f + r) of the GPU, m r of it resident.
// Precondition: per_token > 0, fresh_share and record_share >= 0 and not both 0, 0 < window_share <= 1.
std::int64_t largest_batch_tokens(const BatchRoom& room);

}  // namespace alchemist

// How much of a mixture of experts a batch needs.
#pragma once

#include <cmath>

namespace alchemist {

// Share of the experts that at least one of `tokens` tokens is sent to, in the mean, where each token chooses a share
// `token_share` of them, all alike and whatever the others choose: 1 - (1 - token_share)^tokens. Real routers prefer
// some experts, and reach fewer.
inline double reached_share(double token_share, double tokens) {
  return token_share >= 1 ? 1 : 1 - std::pow(1 - token_share, tokens);
}

}  // namespace alchemist

#include "kernels/preference_loss.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace alchemist::cpu {

template <class A>
void preference_loss(const PreferenceLoss<A>& call) {
  const auto gain = [&](std::int64_t s) {  // of the sequence's log-probability over the reference
    const A* begin = call.token_loss + call.sequence_begin[s];
    const A* end = call.token_loss + call.sequence_begin[s + 1];
    return -std::accumulate(begin, end, A(0)) - call.reference_logprob[s];
  };
  const auto fill = [&](std::int64_t s, A weight) {
    std::fill(call.weight + call.sequence_begin[s], call.weight + call.sequence_begin[s + 1], weight);
  };
  for (std::int64_t p = 0; p < call.pairs; ++p) {
    const A margin = call.beta * (gain(2 * p) - gain(2 * p + 1));
    // log(1 + exp(-m)) without overflow for m far below 0.
    call.loss[p] = std::log1p(std::exp(-std::abs(margin))) + std::max(-margin, A(0));
    const A weight = call.scale * call.beta / (1 + std::exp(margin));
    fill(2 * p, weight);
    fill(2 * p + 1, -weight);
  }
}

template void preference_loss(const PreferenceLoss<float>&);
template void preference_loss(const PreferenceLoss<double>&);

}  // namespace alchemist::cpu

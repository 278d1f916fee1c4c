// Direct preference optimisation (Rafailov et al. 2023, equation 7), from the losses of tokens.
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"

namespace alchemist {

// Sequences come in pairs: 2 p is the chosen one of pair p, 2 p + 1 the rejected one. Sequence s has the token losses
// sequence_begin[s] .. sequence_begin[s + 1] - 1. With log-probabilities l_s = -sum of its token losses and those of
// the frozen reference, r_s:
//   margin[p] = beta * ((l_chosen - r_chosen) - (l_rejected - r_rejected))
//   loss[p]   = log(1 + exp(-margin[p]))
//   weight[i] = scale * d loss[p] / d token_loss[i] = +- scale * beta / (1 + exp(margin[p]))
// with + for the tokens of the chosen sequence; what cross_entropy.h takes as `weight`.
template <class A>
struct PreferenceLoss {
  const A* token_loss;                 // [sequence_begin[2 * pairs]]
  const std::int32_t* sequence_begin;  // [2 * pairs + 1]
  const A* reference_logprob;          // [2 * pairs]
  A* loss;                             // [pairs]
  A* weight;                           // as token_loss
  std::int64_t pairs;
  A beta;
  A scale;  // 1 / pairs of the training step, for their mean
};

namespace cpu {
template <class A>
void preference_loss(const PreferenceLoss<A>& call);
}

namespace cuda {
void preference_loss(const PreferenceLoss<float>& call, Stream stream);
}

}  // namespace alchemist

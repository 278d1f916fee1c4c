// Totals of a layer and of what lies outside the layers, for cost models and for the trainer.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/model/layer_graph.h"

namespace alchemist {

struct PhaseCosts {
  std::vector<Kernel> kernels;  // in the order of execution
  Work work() const;            // their sum
};

// Trained parameters that lie on several GPUs, each of which makes a part of their gradient: the parts are added up.
struct GradientSum {
  std::int64_t gpus = 0;
  std::int64_t parameters = 0;  // of one GPU
};

struct LayerCosts {
  PhaseCosts forward;   // as training runs it, adapters included; the cache write is serving's alone and left out
  PhaseCosts backward;  // with all it needs at hand: from what is recorded or kept, see backward_kernels()
  std::int64_t parameters = 0;             // adapters included
  std::int64_t trained_parameters = 0;     // get a gradient and optimizer state
  std::vector<GradientSum> gradient_sums;  // one for each number of GPUs
};
LayerCosts layer_costs(const LayerGraph& graph);

// Final norm, output head and loss over the tokens that have a target; the embedding is a lookup without FLOPs. Of one
// of `tensor_parallel` GPUs: each has a part of the vocabulary, the loss adds up three numbers a token over the GPUs
// (largest logit, sum of exponentials, the target's logit: Shoeybi et al. 2019, section 3) and backward the gradient of
// what the head reads. The all-reduce of the split embedding's lookup is left out, as it is where serving is priced.
struct HeadCosts {
  PhaseCosts forward;
  PhaseCosts backward;
  std::int64_t trained_parameters = 0;  // full: embedding, head, final norm; lora: none
};
HeadCosts head_costs(const ModelShape& model, const TrainingShape& training, std::int64_t tensor_parallel = 1);

// Parameters with a gradient in the whole model, or what one of `tensor_parallel` GPUs holds of them.
std::int64_t trained_parameters(const ModelShape& shape, const TrainingShape& training,
                                std::int64_t tensor_parallel = 1);

}  // namespace alchemist

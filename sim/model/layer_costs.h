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

struct LayerCosts {
  PhaseCosts forward;   // as training runs it, adapters included; the cache write is serving's alone and left out
  PhaseCosts backward;  // everything needed from the record at hand: add RebuildPlan::work for what is not
  std::int64_t parameters = 0;          // adapters included
  std::int64_t trained_parameters = 0;  // get a gradient and optimizer state
};
LayerCosts layer_costs(const LayerGraph& graph);

// Final norm, output head and loss over the tokens that have a target; the embedding is a lookup without FLOPs.
struct HeadCosts {
  PhaseCosts forward;
  PhaseCosts backward;
  std::int64_t trained_parameters = 0;  // full: embedding, head, final norm; lora: none
};
HeadCosts head_costs(const ModelShape& shape, const TrainingShape& training);

// Parameters with a gradient in the whole model.
std::int64_t trained_parameters(const ModelShape& shape, const TrainingShape& training);

}  // namespace alchemist

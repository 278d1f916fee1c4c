#include "sim/model/layer_costs.h"

namespace alchemist {
namespace {

PhaseCosts phase_costs(const LayerGraph& graph, Phase phase) {
  std::vector<OperatorId> operators = graph.operators_of(phase);
  std::erase_if(operators, [&](OperatorId op) { return graph[op].kind == OperatorKind::kCacheWrite; });
  return {kernel_work(graph, operators), kernel_count(graph, operators)};
}

}  // namespace

LayerCosts layer_costs(const LayerGraph& graph) {
  LayerCosts costs{phase_costs(graph, Phase::kForward), phase_costs(graph, Phase::kBackward), 0, 0};
  for (const OperatorId id : graph.operators_of(Phase::kForward)) {
    costs.parameters += graph[id].parameters;
    if (graph[id].trained) costs.trained_parameters += graph[id].parameters;
  }
  return costs;
}

HeadCosts head_costs(const ModelShape& shape, const TrainingShape& training) {
  const double hidden = static_cast<double>(shape.hidden);
  const double vocabulary = static_cast<double>(shape.vocabulary);
  const double dtype = static_cast<double>(shape.dtype_bytes);
  const bool full = training.method == TrainingMethod::kFull;
  const double head_bytes = hidden * vocabulary * dtype;

  HeadCosts costs;
  // Norm (4 operations an element), logits, and the softmax's maximum, subtraction, exponential and sum in one pass.
  costs.forward.work = {.matrix_flops_per_token = 2 * hidden * vocabulary,
                        .vector_flops_per_token = 4 * hidden + 4 * vocabulary,
                        .weight_bytes = head_bytes + hidden * dtype,
                        .bytes_per_token = (3 * hidden + 2 * vocabulary) * dtype};
  costs.forward.kernels = 3;  // norm, product, loss
  // d logits = softmax - target, written over the logits; then the product with the head's transpose, and for full
  // fine-tuning its weight gradient; the norm's backward.
  const double products = full ? 2 : 1;
  costs.backward.work = {.matrix_flops_per_token = products * 2 * hidden * vocabulary,
                         .vector_flops_per_token = 3 * vocabulary + (full ? 9 : 6) * hidden,
                         .weight_bytes = products * head_bytes + (full ? 2 : 1) * hidden * dtype,
                         .bytes_per_token = ((2 + products) * vocabulary + (full ? 5 : 4) * hidden) * dtype};
  costs.backward.kernels = full ? 4 : 3;
  if (full) {
    const std::int64_t matrices = shape.tied_embeddings ? 1 : 2;
    costs.trained_parameters = matrices * shape.vocabulary * shape.hidden + shape.hidden;
  }
  return costs;
}

std::int64_t trained_parameters(const ModelShape& shape, const TrainingShape& training) {
  const LayerCosts layer = layer_costs(build_layer_graph(shape, training));
  return shape.layers * layer.trained_parameters + head_costs(shape, training).trained_parameters;
}

}  // namespace alchemist

#include "sim/model/layer_costs.h"

#include "sim/base/operator_work.h"

namespace alchemist {
namespace {

PhaseCosts phase_costs(const LayerGraph& graph, Phase phase) {
  std::vector<OperatorId> operators = graph.operators_of(phase);
  std::erase_if(operators, [&](OperatorId op) { return graph[op].kind == OperatorKind::kCacheWrite; });
  return {kernels_of(graph, operators)};
}

}  // namespace

Work PhaseCosts::work() const {
  Work sum;
  for (const Kernel& kernel : kernels) sum += kernel.work;
  return sum;
}

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
  const bool full = training.method == TrainingMethod::full;
  const double head_bytes = hidden * vocabulary * dtype;
  const Work product{.matrix_flops_per_token = 2 * hidden * vocabulary,
                     .weight_bytes = head_bytes,
                     .bytes_per_token = (hidden + vocabulary) * dtype};

  HeadCosts costs;
  // The softmax's maximum, subtraction, exponential and sum in one pass; a few bytes of loss are left out.
  costs.forward.kernels = {
      {"final_norm",
       false,
       {.vector_flops_per_token = 4 * hidden, .weight_bytes = hidden * dtype, .bytes_per_token = 2 * hidden * dtype}},
      {"lm_head", true, product},
      {"loss",
       false,
       {.vector_flops_per_token = cross_entropy_work(shape.vocabulary).vector_flops_per_token,
        .bytes_per_token = vocabulary * dtype}}};
  // d logits = softmax - target, written over the logits; the norm's backward reads x and d n and writes d x.
  costs.backward.kernels = {
      {"loss.d",
       false,
       {.vector_flops_per_token = cross_entropy_gradient_work(shape.vocabulary).vector_flops_per_token,
        .bytes_per_token = 2 * vocabulary * dtype}},
      {"lm_head.dx", true, product}};
  if (full) costs.backward.kernels.push_back({"lm_head.dw", true, product});
  costs.backward.kernels.push_back({"final_norm.d",
                                    false,
                                    {.vector_flops_per_token = (full ? 9 : 6) * hidden,
                                     .weight_bytes = (full ? 2 : 1) * hidden * dtype,
                                     .bytes_per_token = 3 * hidden * dtype}});
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

#include "sim/model/layer_costs.h"

#include <algorithm>
#include <utility>

#include "sim/base/operator_work.h"

namespace alchemist {
namespace {

PhaseCosts phase_costs(const LayerGraph& graph, Phase phase) {
  std::vector<OperatorId> operators = graph.operators_of(phase);
  std::erase_if(operators, [&](OperatorId op) { return graph[op].kind == OperatorKind::kCacheWrite; });
  return {kernels_of(graph, operators)};
}

void add_gradient_sum(std::vector<GradientSum>& sums, const Operator& op) {
  if (op.gradient_gpus == 1) return;
  const auto same = [&](const GradientSum& sum) { return sum.gpus == op.gradient_gpus; };
  auto sum = std::find_if(sums.begin(), sums.end(), same);
  if (sum == sums.end()) sum = sums.insert(sums.end(), {op.gradient_gpus, 0});
  sum->parameters += op.parameters;
}

Kernel all_reduce(std::string name, std::int64_t bytes_per_token) {
  return {.name = std::move(name), .work = {.reduced_bytes_per_token = static_cast<double>(bytes_per_token)}};
}

// What a split vocabulary adds. The gradient is added up before the norm reads it.
void add_all_reduces(HeadCosts& costs, const ModelShape& shape) {
  constexpr std::int64_t kNumberBytes = 4;  // f32
  for (const char* number : {"loss.max", "loss.sum", "loss.target"}) {
    costs.forward.kernels.push_back(all_reduce(number, kNumberBytes));
  }
  costs.backward.kernels.insert(costs.backward.kernels.end() - 1,
                                all_reduce("lm_head.all_reduce.d", shape.hidden * shape.dtype_bytes));
}

}  // namespace

Work PhaseCosts::work() const {
  Work sum;
  for (const Kernel& kernel : kernels) sum += kernel.work;
  return sum;
}

LayerCosts layer_costs(const LayerGraph& graph) {
  LayerCosts costs{phase_costs(graph, Phase::kForward), phase_costs(graph, Phase::kBackward), 0, 0, {}};
  for (const OperatorId id : graph.operators_of(Phase::kForward)) {
    costs.parameters += graph[id].parameters;
    if (!graph[id].trained) continue;
    costs.trained_parameters += graph[id].parameters;
    add_gradient_sum(costs.gradient_sums, graph[id]);
  }
  return costs;
}

HeadCosts head_costs(const ModelShape& model, const TrainingShape& training, std::int64_t tensor_parallel) {
  const ModelShape shape = gpu_shard(model, tensor_parallel);
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
      {.name = "final_norm",
       .work = {.vector_flops_per_token = 4 * hidden,
                .weight_bytes = hidden * dtype,
                .bytes_per_token = 2 * hidden * dtype}},
      {.name = "lm_head", .matrix_product = true, .product_columns = shape.vocabulary, .work = product},
      {.name = "loss",
       .work = {.vector_flops_per_token = cross_entropy_work(shape.vocabulary).vector_flops_per_token,
                .bytes_per_token = vocabulary * dtype}}};
  // d logits = softmax - target, written over the logits; the norm's backward reads x and d n and writes d x.
  costs.backward.kernels = {
      {.name = "loss.d",
       .work = {.vector_flops_per_token = cross_entropy_gradient_work(shape.vocabulary).vector_flops_per_token,
                .bytes_per_token = 2 * vocabulary * dtype}},
      {.name = "lm_head.dx", .matrix_product = true, .product_columns = shape.hidden, .work = product}};
  if (full) costs.backward.kernels.push_back({.name = "lm_head.dw", .matrix_product = true, .work = product});
  costs.backward.kernels.push_back({.name = "final_norm.d",
                                    .work = {.vector_flops_per_token = (full ? 9 : 6) * hidden,
                                             .weight_bytes = (full ? 2 : 1) * hidden * dtype,
                                             .bytes_per_token = 3 * hidden * dtype}});
  if (tensor_parallel > 1) add_all_reduces(costs, shape);
  if (full) {
    const std::int64_t matrices = shape.tied_embeddings ? 1 : 2;
    costs.trained_parameters = matrices * shape.vocabulary * shape.hidden + shape.hidden;
  }
  return costs;
}

std::int64_t trained_parameters(const ModelShape& shape, const TrainingShape& training, std::int64_t tensor_parallel) {
  const LayerCosts layer = layer_costs(build_layer_graph(shape, training, tensor_parallel));
  return shape.layers * layer.trained_parameters + head_costs(shape, training, tensor_parallel).trained_parameters;
}

}  // namespace alchemist

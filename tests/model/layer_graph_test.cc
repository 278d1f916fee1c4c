#include "sim/model/layer_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/base/check.h"
#include "sim/model/layer_costs.h"
#include "tests/model/shapes.h"

namespace alchemist {
namespace {

using ::testing::ElementsAre;

std::vector<ModelShape> all_shapes() { return {llama31_8b(), llama2_7b(), llama2_13b(), qwen25_7b()}; }

// Weights of the linear modules: q and o (hidden x q_width), k and v (hidden x kv_width), three of the MLP.
double linear_weights(const ModelShape& s) {
  return static_cast<double>(2 * s.hidden * s.q_width() + 2 * s.hidden * s.kv_width() + 3 * s.hidden * s.intermediate);
}

// Closed forms for a sequence of S tokens. Forward: 2 FLOPs for each weight and token; attention two products of
// 2 * q_width FLOPs for each pair of token and key, S^2/2 pairs under the causal mask. Backward: the products with
// weights twice in full fine-tuning, once with frozen weights; attention five products in place of two. The rest
// (norms, softmax, activations) must stay within 1 %.
TEST(LayerCosts, FlopsMatchTheClosedForms) {
  for (const ModelShape& shape : all_shapes()) {
    for (const std::int32_t tokens : {512, 2048, 8192}) {
      const PrefillChunk sequence{tokens, 0};
      const double weights = 2 * linear_weights(shape) * tokens;
      const double attention = 4.0 * static_cast<double>(shape.q_width()) * tokens * tokens / 2;
      const LayerCosts full = layer_costs(build_layer_graph(shape, full_training()));
      EXPECT_NEAR(full.forward.work().flops(sequence) / (weights + attention), 1, 0.01) << shape.name;
      EXPECT_NEAR(full.backward.work().flops(sequence) / (2 * weights + 2.5 * attention), 1, 0.01) << shape.name;
      const LayerCosts lora = layer_costs(build_layer_graph(shape, lora_training(1, {LinearModule::kQ})));
      EXPECT_NEAR(lora.forward.work().flops(sequence) / (weights + attention), 1, 0.01) << shape.name;
      EXPECT_NEAR(lora.backward.work().flops(sequence) / (weights + 2.5 * attention), 1, 0.01) << shape.name;
    }
  }
}

// Exactly, in the matrix units, for Llama-3.1-8B: 218,103,808 weights; one token with 1,000 keys in all:
// 436,207,616 + 4 * 4096 * 1000 = 452,591,616.
TEST(LayerCosts, MatrixFlopsByHand) {
  const LayerCosts costs = layer_costs(build_layer_graph(llama31_8b(), full_training()));
  EXPECT_EQ(costs.forward.work().matrix_flops({1, 999}), 452'591'616.0);
  EXPECT_EQ(costs.backward.work().matrix_flops({1, 999}), 2 * 436'207'616.0 + 10 * 4096 * 1000.0);
  EXPECT_EQ(attended_keys({3, 10}), 11 + 12 + 13);
}

// An adapter of rank r on q, v (4096 -> 4096, 4096 -> 1024) has r * (4096 + 4096) + r * (4096 + 1024) parameters: 2
// FLOPs each forward, 4 backward (both its matrices are trained), on top of the frozen layer's.
TEST(LayerCosts, AdaptersByHand) {
  constexpr std::int64_t kRank = 8;
  const double adapters = kRank * (8192.0 + 5120.0);
  const LayerCosts lora =
      layer_costs(build_layer_graph(llama31_8b(), lora_training(kRank, {LinearModule::kQ, LinearModule::kV})));
  EXPECT_EQ(lora.trained_parameters, static_cast<std::int64_t>(adapters));
  EXPECT_EQ(lora.parameters, llama31_8b().layer_parameters() + lora.trained_parameters);
  EXPECT_EQ(lora.forward.work().matrix_flops_per_token, 436'207'616.0 + 2 * adapters);
  EXPECT_EQ(lora.backward.work().matrix_flops_per_token, 436'207'616.0 + 4 * adapters);
}

TEST(LayerCosts, ParametersAgreeWithTheShape) {
  for (const ModelShape& shape : all_shapes()) {
    const LayerCosts costs = layer_costs(build_layer_graph(shape, full_training()));
    EXPECT_EQ(costs.parameters, shape.layer_parameters()) << shape.name;
    EXPECT_EQ(costs.trained_parameters, costs.parameters) << shape.name;
    EXPECT_EQ(trained_parameters(shape, full_training()), shape.parameters()) << shape.name;
  }
}

// Device memory of Llama-3.1-8B's forward, a token: each kernel reads its inputs and writes its outputs once. In units
// of 8,192 bytes (hidden in bf16), k and v being 1/4, the MLP's tensors 3.5:
//   input norm: x -> n1                     2      qkv: n1 -> q k v                       1 + 1.5
//   rotary: q k -> q k                      2.5    attention: q k v -> o                  1.5 + 1
//   o: 2    residual + norm: x o -> x n2    4      gate, up: n2 -> g u                    1 + 7
//   silu: g u -> s                          10.5   down: 3.5 + 1     residual: 2 + 1
// together 41.5 units; rstd twice (4 bytes each) and lse (128) are written. Weights: every parameter once, in bf16.
TEST(LayerCosts, ForwardTrafficByHand) {
  const LayerCosts costs = layer_costs(build_layer_graph(llama31_8b(), full_training()));
  EXPECT_EQ(costs.forward.work().bytes_per_token, 41.5 * 8192 + 4 + 4 + 128);
  EXPECT_EQ(costs.forward.work().weight_bytes, 2.0 * static_cast<double>(llama31_8b().layer_parameters()));
  EXPECT_EQ(costs.forward.work().bytes_per_context_token, 4096);
  EXPECT_EQ(costs.forward.kernels.size(), 10u);
}

// A residual passes its gradient on by name only; the norm's backward adds into the stream's gradient: it reads d n, x,
// rstd and d x_mid and writes d x_mid.
TEST(LayerCosts, GradientAccumulationIsReadAndWritten) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  std::vector<OperatorId> norm;
  for (const OperatorId id : graph.operators_of(Phase::kBackward)) {
    if (graph[id].kernel == "post_norm.d") norm.push_back(id);
  }
  EXPECT_EQ(kernel_work(graph, norm).bytes_per_token, 4 * 8192 + 4);
  const OperatorId view = graph.find_operator("mlp_residual.view").value();
  EXPECT_EQ(kernel_work(graph, std::span(&view, 1)).bytes_per_token, 0);
}

// 2 * 4096 * 128256 FLOPs a token for the logits; backward once more for the input and, in full, for the weights.
TEST(LayerCosts, HeadByHand) {
  const double product = 2.0 * 4096 * 128256;
  EXPECT_EQ(head_costs(llama31_8b(), full_training()).forward.work().matrix_flops_per_token, product);
  EXPECT_EQ(head_costs(llama31_8b(), full_training()).backward.work().matrix_flops_per_token, 2 * product);
  EXPECT_EQ(head_costs(llama31_8b(), TrainingShape{}).backward.work().matrix_flops_per_token, product);
  EXPECT_EQ(head_costs(llama31_8b(), TrainingShape{}).trained_parameters, 0);
}

// Every operator comes after what makes its inputs, forward and backward: tensors other than gradients have one
// producer.
TEST(LayerGraph, OperatorsStandInAnOrderOfExecution) {
  for (const TrainingShape& training : {full_training(), TrainingShape{}}) {
    const LayerGraph graph = build_layer_graph(qwen25_7b(), training);
    for (std::uint32_t i = 0; i < graph.operators.size(); ++i) {
      for (const TensorId input : graph.operators[i].inputs) {
        for (const OperatorId producer : graph[input].producers) EXPECT_LT(producer.value(), i);
      }
    }
    for (const Tensor& tensor : graph.tensors) {
      if (tensor.gradient_of) continue;
      EXPECT_LE(tensor.producers.size(), 1u) << tensor.spec.name;
    }
    EXPECT_EQ(graph[graph.output].spec.shape, graph[graph.input].spec.shape);
    EXPECT_TRUE(graph.find_tensor("d.x"));
  }
}

// Frozen weights have no gradient; adapters have one each for A and B.
TEST(LayerGraph, LoraTrainsAdaptersOnly) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), lora_training(4, {LinearModule::kV}));
  std::vector<std::string> weight_gradients;
  for (const Operator& op : graph.operators) {
    if (op.phase == Phase::kBackward && op.parameters > 0) weight_gradients.push_back(op.name);
  }
  EXPECT_THAT(weight_gradients, ElementsAre("v_proj.lora_b.dw", "v_proj.lora_a.dw"));
}

// With every operator at one second, the longest forward chain is: two norm operators, q, rotary, attention, o,
// residual, two norm operators, gate, silu * up, down, residual = 13. With a linear's time only, it is one of q k v, o,
// one of gate and up, down = 4.
TEST(LayerGraph, CriticalPathByHand) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  const CriticalPath unit = critical_path(graph, Phase::kForward, [](OperatorId) { return 1.0; });
  EXPECT_EQ(unit.seconds, 13);
  EXPECT_EQ(unit.operators.size(), 13u);
  const auto linears = [&](OperatorId op) { return graph[op].kind == OperatorKind::kLinear ? 1.0 : 0.0; };
  EXPECT_EQ(critical_path(graph, Phase::kForward, linears).seconds, 4);
  // Backward: the chain of input gradients and one weight gradient (q, k or v) at its end: down, gate | up, o, then
  // v.dw or v.dx.
  EXPECT_EQ(critical_path(graph, Phase::kBackward, linears).seconds, 4);
}

// A declaration that reads what nobody makes, or makes a tensor twice, is a bug of ours.
TEST(LayerGraph, RejectsBrokenDeclarations) {
  LayerSpec spec = declare_layer(llama31_8b(), full_training());
  spec.operators.front().inputs = {"nothing"};
  EXPECT_THROW(derive_layer_graph(spec), InternalError);
  spec = declare_layer(llama31_8b(), full_training());
  spec.operators.push_back(spec.operators.front());
  EXPECT_THROW(derive_layer_graph(spec), InternalError);
}

TEST(LayerGraph, DotNamesEveryVertex) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  const std::string dot = layer_graph_dot(graph, "a \"title\"");
  for (const Operator& op : graph.operators) EXPECT_NE(dot.find("label=\"" + op.name + "\""), std::string::npos);
  for (const Tensor& tensor : graph.tensors) {
    EXPECT_NE(dot.find("label=\"" + tensor.spec.name + "\\n"), std::string::npos) << tensor.spec.name;
  }
  EXPECT_NE(dot.find("a \\\"title\\\""), std::string::npos);
  EXPECT_NE(dot.find("style=dashed"), std::string::npos);
  EXPECT_EQ(dot.rfind("digraph", 0), 0u);
}

}  // namespace
}  // namespace alchemist

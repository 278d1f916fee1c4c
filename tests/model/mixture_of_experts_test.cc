// Layers of experts, and norms of queries and keys: what they add to the layer of Llama.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "sim/model/backward_schedule.h"
#include "sim/model/expert_share.h"
#include "sim/model/kernel_times.h"
#include "sim/model/layer_costs.h"
#include "sim/model/roofline_cost.h"
#include "tests/model/shapes.h"

namespace alchemist {
namespace {

using ::testing::UnorderedElementsAre;

ModelShape qwen3_30b_a3b() {
  ModelShape shape{"qwen3-30b-a3b", 48, 2048, 768, 32, 4, 128, 151936, 40960, false, false, 2};
  shape.qk_norm = true;
  shape.experts = 128;
  shape.experts_per_token = 8;
  return shape;
}

// A dense model as a mixture of one expert.
ModelShape single_expert(ModelShape shape) {
  shape.experts = shape.experts_per_token = 1;
  return shape;
}

const TrainingShape kAllAdapters = lora_training(16, TrainingShape{}.lora_modules);

// The 16 experts' share of 1/4 that two tokens reach: 1/4 + 3/4 * 1/4.
TEST(MixtureOfExperts, TokensReachMoreAndMoreExperts) {
  EXPECT_DOUBLE_EQ(reached_share(0.25, 0), 0);
  EXPECT_DOUBLE_EQ(reached_share(0.25, 1), 0.25);
  EXPECT_DOUBLE_EQ(reached_share(0.25, 2), 0.4375);
  EXPECT_NEAR(reached_share(0.0625, 512), 1, 1e-14);
  EXPECT_EQ(reached_share(1, 0), 1);
}

TEST(MixtureOfExperts, ParametersAgreeWithTheShape) {
  const ModelShape shape = qwen3_30b_a3b();
  // q and o, k and v, router, experts, norms of the stream and of heads.
  const std::int64_t attention = 2 * 2048 * 4096 + 2 * 2048 * 512, experts = std::int64_t{128} * 3 * 2048 * 768;
  EXPECT_EQ(shape.layer_parameters(), attention + 2048 * 128 + experts + 2 * 2048 + 2 * 128);
  EXPECT_EQ(shape.active_parameters(), shape.parameters() - 48 * experts * 120 / 128);
  const LayerCosts full = layer_costs(build_layer_graph(shape, full_training()));
  EXPECT_EQ(full.parameters, shape.layer_parameters());
  EXPECT_EQ(full.trained_parameters, shape.layer_parameters());
  // Every expert has adapters of its own, 16 x (2048 + 768) of each of its three matrices.
  const LayerCosts lora = layer_costs(build_layer_graph(shape, kAllAdapters));
  const std::int64_t of_attention = 16 * (2 * (2048 + 4096) + 2 * (2048 + 512));
  EXPECT_EQ(lora.trained_parameters, of_attention + 128 * 3 * 16 * (2048 + 768));
}

// A token passes the router and 8 experts; backward twice as much in full fine-tuning.
TEST(MixtureOfExperts, MatrixFlopsByHand) {
  const double weights = 2.0 * 2048 * 4096 + 2.0 * 2048 * 512 + 2048.0 * 128 + 8 * 3.0 * 2048 * 768;
  const LayerCosts costs = layer_costs(build_layer_graph(qwen3_30b_a3b(), full_training()));
  EXPECT_EQ(costs.forward.work().matrix_flops_per_token, 2 * weights);
  EXPECT_EQ(costs.backward.work().matrix_flops_per_token, 4 * weights);
  const LayerCosts frozen = layer_costs(build_layer_graph(qwen3_30b_a3b(), lora_training(1, {LinearModule::kQ})));
  EXPECT_EQ(frozen.backward.work().matrix_flops_per_token, 2 * weights + 4 * (2048 + 4096));
}

// But for the router, a mixture of one expert is the dense layer: the same products, records and traffic of weights.
TEST(MixtureOfExperts, OfOneIsTheDenseLayer) {
  const ModelShape dense = llama31_8b(), one = single_expert(dense);
  for (const TrainingShape& training : {full_training(), kAllAdapters, lora_training(4, {LinearModule::kV})}) {
    const LayerGraph d = build_layer_graph(dense, training), m = build_layer_graph(one, training);
    const double router = 4096, element = 2;
    const Work df = layer_costs(d).forward.work(), mf = layer_costs(m).forward.work();
    EXPECT_EQ(mf.matrix_flops_per_token, df.matrix_flops_per_token + 2 * router);
    EXPECT_EQ(mf.weight_bytes, df.weight_bytes + element * router);
    const Work db = layer_costs(d).backward.work(), mb = layer_costs(m).backward.work();
    const double of_router = training.method == TrainingMethod::full ? 4 * router : 2 * router;
    EXPECT_EQ(mb.matrix_flops_per_token, db.matrix_flops_per_token + of_router);
    // And which expert, with which weight.
    const auto bytes = [](const LayerGraph& graph, const std::vector<TensorId>& tensors) {
      return bytes_per_token(graph, tensors).count();
    };
    EXPECT_EQ(bytes(m, minimal_tensors(m)), bytes(d, minimal_tensors(d)) + 8);
    EXPECT_EQ(bytes(m, lean_tensors(m)), bytes(d, lean_tensors(d)) + 8);
  }
}

// Backward needs gate and up of each of 8 experts (2 x 8 x 768 x 2 bytes), where the token went and with what weight,
// queries and keys as they were before their norm, with its statistics; queries after it follow from these.
TEST(MixtureOfExperts, RecordsByHand) {
  const LayerGraph graph = build_layer_graph(qwen3_30b_a3b(), kAllAdapters);
  EXPECT_THAT(names(graph, minimal_tensors(graph)),
              UnorderedElementsAre("x", "rstd1", "q.linear", "k.linear", "rstd.q", "rstd.k", "v", "attention", "lse",
                                   "x_mid", "rstd2", "routing", "expert", "gate", "up"));
  const std::int64_t heads = 2 * 4096 + 2 * 512 + 4 * (32 + 4), attention = 2 * 512 + 2 * 4096 + 4 * 32;
  const std::int64_t stream = 2 * (2 * 2048 + 4), experts = 8 * (4 + 4) + 2 * 8 * 768 * 2;
  EXPECT_EQ(bytes_per_token(graph, minimal_tensors(graph)).count(), heads + attention + stream + experts);
  EXPECT_EQ(bytes_per_token(graph, lean_tensors(graph)).count(), heads + attention + stream + 64);
  // Of products, the narrow ones of the adapters alone are made again: of q, k, v, o, and of each expert.
  EXPECT_EQ(rebuild_plan(graph, minimal_tensors(graph)).work.matrix_flops_per_token,
            2.0 * 16 * (3 * 2048 + 4096 + 8 * (2 * 2048 + 768)));
  // Gate and up need the norm, and where the token went.
  const RebuildPlan rebuild = rebuild_plan(graph, lean_tensors(graph), gate_and_up(graph));
  EXPECT_EQ(rebuild.work.matrix_flops_per_token, 2.0 * 2 * 8 * 2048 * 768 + 2 * 16 * 2.0 * 8 * (2048 + 768));
}

// No output of an expert is needed for the gradient of its weight.
TEST(MixtureOfExperts, TheRoutersGradientNeedsNoOutputOfAnExpert) {
  const LayerGraph graph = build_layer_graph(qwen3_30b_a3b(), lora_training(16, {LinearModule::kQ}));
  for (const TensorId tensor : needed_tensors(graph)) EXPECT_NE(graph[tensor].spec.name, "down.experts");
  EXPECT_TRUE(graph.find_tensor("d.routing").has_value());
  EXPECT_TRUE(graph.find_operator("router.dx").has_value());
  EXPECT_FALSE(graph.find_operator("router.dw").has_value());
}

// Every GPU has a part of each expert and the whole router: the FLOPs of two are those of one, but for the router's.
TEST(MixtureOfExperts, SplitsOverGpus) {
  const LayerCosts whole = layer_costs(build_layer_graph(qwen3_30b_a3b(), full_training()));
  const LayerCosts half = layer_costs(build_layer_graph(qwen3_30b_a3b(), full_training(), 2));
  const double router = 2.0 * 2048 * 128;
  EXPECT_EQ(2 * half.forward.work().matrix_flops_per_token, whole.forward.work().matrix_flops_per_token + router);
  EXPECT_EQ(half.forward.work().reduced_bytes_per_token, 2 * 2048 * 2.0);
  EXPECT_EQ(half.backward.work().reduced_bytes_per_token, 2 * 2048 * 2.0);
  EXPECT_EQ(half.parameters, gpu_shard(qwen3_30b_a3b(), 2).layer_parameters());
  ASSERT_EQ(half.gradient_sums.size(), 1u);
  EXPECT_EQ(half.gradient_sums.front().parameters, 2048 * 128 + 2 * 128);  // the router's, and the head norms'
}

// The router's, which sees parts of experts, and those of the norms of heads, of which each GPU has some. The norms of
// the stream get the whole gradient everywhere; of 4 key/value heads none is on two GPUs.
TEST(MixtureOfExperts, GradientsThatGpusMakeInPartAreSummed) {
  const LayerCosts half = layer_costs(build_layer_graph(qwen3_30b_a3b(), full_training(), 2));
  ASSERT_EQ(half.gradient_sums.size(), 1U);
  EXPECT_EQ(half.gradient_sums[0].gpus, 2);
  EXPECT_EQ(half.gradient_sums[0].parameters, 2048 * 128 + 2 * 128);
}

HardwareSpec memory_bound() {
  HardwareSpec hardware;
  hardware.memory_bandwidth = 1e12;
  hardware.memory_efficiency = 1;
  hardware.matrix_flops = 1e18;
  hardware.matrix_efficiency = 1;
  hardware.attention_efficiency = 1;
  hardware.vector_flops = 1e18;
  hardware.processors = 100;
  return hardware;
}

// One token reads what it passes (all but its embedding's table), many read all. A token's own activations are some
// 0.1 MB a layer, beside 115 MB of weights.
TEST(MixtureOfExperts, DecodeStepsReadTheExpertsThatTheirTokensReach) {
  const ModelShape shape = qwen3_30b_a3b();
  const RooflineCost cost(memory_bound(), shape, 1, 4096, false);
  const auto step = [&](std::int32_t decodes) {
    BatchShape batch;
    batch.decodes = batch.sampled = decodes;
    return cost.step(batch).in_seconds();
  };
  const double embedding = 151936.0 * 2048;
  const double one = 2 * (static_cast<double>(shape.active_parameters()) - embedding) / 1e12;
  EXPECT_NEAR(step(1) / one, 1, 0.005);
  const double experts = 48.0 * 3 * 2048 * 768 * 128;
  const double others = static_cast<double>(shape.parameters()) - embedding - experts;
  EXPECT_NEAR(step(16) / (2 * (others + experts * (1 - std::pow(15.0 / 16, 16))) / 1e12), 1, 0.02);
}

// Of 1e9 bytes of experts, a quarter a token, at 1e12 bytes/s; each token's rows are 1e6 bytes.
TEST(MixtureOfExperts, KernelsReadTheExpertsThatTheirTokensReach) {
  Kernel kernel{.name = "experts", .matrix_product = true};
  kernel.token_share = 0.25;
  kernel.work = {.matrix_flops_per_token = 1e9, .weight_bytes = 1e9, .bytes_per_token = 1e6};
  HardwareSpec hardware = memory_bound();
  const KernelTimes times({kernel}, hardware, 1);
  EXPECT_NEAR(times.seconds(1, 0), 0.25e-3 + 1e-6, 1e-12);
  EXPECT_NEAR(times.seconds(2, 0), 0.4375e-3 + 2e-6, 1e-12);
  EXPECT_NEAR(times.traffic_bytes(2), 0.4375e9 + 2e6, 1e-3);
  EXPECT_NEAR(times.seconds(1000, 0), 1e-3 + 1e-3, 1e-12);
  hardware.matrix_flops = 1e15;  // a token's arithmetic takes 1 us, as long as its rows do
  EXPECT_NEAR(KernelTimes({kernel}, hardware, 1).seconds(10'000, 0), 10e-3 + 1e-3, 1e-9);
  hardware.matrix_flops = 1e14;
  EXPECT_NEAR(KernelTimes({kernel}, hardware, 1).seconds(1000, 0), 10e-3, 1e-12);
}

// Most is alive when the gradient of each expert's copy of the norm is made: 8 rows of 2,048, beside the gradients of
// gate and up (8 x 768 each), of the stream and of the routing weights, and the norm, which is made again. In a dense
// layer of the same active width it is the gated activation's gradient (6,144), those of gate and up, and the stream's.
TEST(MixtureOfExperts, BackwardsWorkingMemoryByHand) {
  const auto peak = [](const ModelShape& shape) {
    const LayerGraph graph = build_layer_graph(shape, full_training());
    return backward_schedule(graph, minimal_tensors(graph)).peak_working_bytes_per_token;
  };
  ModelShape shape = qwen3_30b_a3b();
  EXPECT_EQ(peak(shape), 2 * (8 * 2048 + 2 * 8 * 768 + 2048 + 2048) + 8 * 4);
  shape.intermediate = shape.mlp_width();
  shape.experts = shape.experts_per_token = 0;
  EXPECT_EQ(peak(shape), 2 * (3 * 6144 + 2048));
}

// The norm of queries and keys is made with their rotation: no launch more, and no byte but what backward reads.
TEST(QueryKeyNorm, IsOneKernelWithTheRotation) {
  ModelShape shape = llama31_8b();
  const LayerCosts without = layer_costs(build_layer_graph(shape, full_training()));
  shape.qk_norm = true;
  const LayerGraph graph = build_layer_graph(shape, full_training());
  const LayerCosts with = layer_costs(graph);
  EXPECT_EQ(with.forward.kernels.size(), without.forward.kernels.size());
  EXPECT_EQ(with.parameters, without.parameters + 2 * 128);
  EXPECT_EQ(with.forward.work().matrix_flops_per_token, without.forward.work().matrix_flops_per_token);
  const Work forward = with.forward.work(), before = without.forward.work();
  EXPECT_EQ(forward.vector_flops_per_token, before.vector_flops_per_token + 4 * (4096 + 1024));
  EXPECT_EQ(forward.weight_bytes, before.weight_bytes + 2 * 2 * 128);
  EXPECT_EQ(forward.bytes_per_token, before.bytes_per_token + 4 * (32 + 8));
  // Two GPUs have half of the heads each, and each makes a part of the gradient of the same 2 x 128 weights.
  const std::vector<GradientSum> sums = layer_costs(build_layer_graph(shape, full_training(), 2)).gradient_sums;
  ASSERT_EQ(sums.size(), 1u);
  EXPECT_EQ(sums.front().gpus, 2);
  EXPECT_EQ(sums.front().parameters, 2 * 128);
  EXPECT_EQ(serving_origin(graph, graph.find_tensor("rstd.q").value()), ServingOrigin::kInRegisters);
  EXPECT_EQ(serving_origin(graph, graph.find_tensor("k").value()), ServingOrigin::kCached);
  EXPECT_EQ(serving_origin(graph, graph.find_tensor("k.linear").value()), ServingOrigin::kTransient);
}

}  // namespace
}  // namespace alchemist

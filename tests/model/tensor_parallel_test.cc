// A layer that is split over several GPUs: what one of them has and does of it.
//
// The small model in bf16, on one of two GPUs: hidden 8, MLP 16 -> 8, 4 -> 2 query and 2 -> 1 key/value heads of 2,
// vocabulary 10 -> 5, two layers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/base/check.h"
#include "sim/model/backward_schedule.h"
#include "sim/model/memory_plan.h"
#include "sim/model/training_cost.h"
#include "tests/model/shapes.h"

namespace alchemist {
namespace {

using ::testing::ElementsAre;

ModelShape tiny_model() { return {"small", 2, 8, 16, 4, 2, 2, 10, 64, false, false, 2}; }
ModelShape llama31_70b() { return {"llama-3.1-70b", 80, 8192, 28672, 64, 8, 128, 128256, 131072, false, false, 2}; }

Bytes set_bytes(const LayerGraph& graph, const char* name) { return find_record_set(graph, name)->bytes_per_token; }

// A token's record in one layer. Whole on both GPUs: x and x_mid (16 bytes each), two rstd (4 each). Split: q and
// attention 2 heads x 2 x 2 = 8 each, k and v 4 each, lse 2 x 4 = 8, gate and up 8 x 2 = 16 each.
//   minimal 40 + 64 = 104   lean 104 - 32 = 72   kv 8   input 16   all: with n1, n2 (16 each) and gated (16) 152
TEST(TensorParallel, RecordBytesByHand) {
  const LayerGraph graph = build_layer_graph(tiny_model(), full_training(), 2);
  EXPECT_THAT(names(graph, minimal_tensors(graph)),
              ElementsAre("x", "rstd1", "v", "q", "k", "attention", "lse", "x_mid", "rstd2", "gate", "up"));
  EXPECT_EQ(set_bytes(graph, "minimal"), Bytes(104));
  EXPECT_EQ(set_bytes(graph, "lean"), Bytes(72));
  EXPECT_EQ(set_bytes(graph, "kv"), Bytes(8));
  EXPECT_EQ(set_bytes(graph, "input"), Bytes(16));
  EXPECT_EQ(set_bytes(graph, "all"), Bytes(152));
}

// All GPUs together hold one record, and what is whole on each of them once more for each GPU but the first: the
// residual stream before attention and before the MLP, and two f32 statistics.
TEST(TensorParallel, OnlyTheResidualStreamIsRepeated) {
  for (const ModelShape& shape : {llama31_8b(), llama2_7b(), llama31_70b()}) {
    const Bytes whole = set_bytes(build_layer_graph(shape, full_training()), "minimal");
    const Bytes repeated(2 * shape.hidden * 2 + 2 * 4);
    for (const std::int64_t gpus : {2, 4, 8}) {
      const LayerGraph graph = build_layer_graph(shape, full_training(), gpus);
      EXPECT_EQ(set_bytes(graph, "minimal") * gpus, whole + repeated * (gpus - 1)) << shape.name << " " << gpus;
      const LayerGraph lora = build_layer_graph(shape, TrainingShape{}, gpus);
      EXPECT_EQ(set_bytes(lora, "minimal"), set_bytes(graph, "minimal"));
    }
  }
}

// With sequence parallelism each of two GPUs keeps half of x and x_mid, 8 bytes each, and gathers them for backward.
TEST(TensorParallel, SequenceParallelRecordBytesByHand) {
  const LayerGraph graph = build_layer_graph(tiny_model(), full_training(), 2);
  const auto split = [&](const char* name) { return find_record_set(graph, name)->split_bytes_per_token; };
  EXPECT_EQ(split("minimal"), Bytes(104 - 16));
  EXPECT_EQ(split("lean"), Bytes(72 - 16));
  EXPECT_EQ(split("input"), Bytes(8));
  EXPECT_EQ(split("kv"), Bytes(8)) << "every GPU has heads of its own";
}

// All GPUs together hold one record and no more, but for the two f32 statistics of each token.
TEST(TensorParallel, SequenceParallelRepeatsNothingWide) {
  for (const ModelShape& shape : {llama31_8b(), llama2_7b(), llama31_70b()}) {
    const Bytes whole = set_bytes(build_layer_graph(shape, full_training()), "minimal");
    for (const std::int64_t gpus : {2, 4, 8}) {
      const LayerGraph graph = build_layer_graph(shape, TrainingShape{}, gpus);
      EXPECT_EQ(find_record_set(graph, "minimal")->split_bytes_per_token * gpus, whole + Bytes(8) * (gpus - 1));
    }
  }
}

// Products are split without rest, so that all GPUs together do the matrix work of one. Weights and optimizer state
// too, but for the norms.
TEST(TensorParallel, SplitsTheWork) {
  for (const ModelShape& shape : {llama31_8b(), llama2_7b(), llama31_70b()}) {
    const LayerCosts whole = layer_costs(build_layer_graph(shape, full_training()));
    for (const std::int64_t gpus : {2, 4, 8}) {
      const LayerCosts part = layer_costs(build_layer_graph(shape, full_training(), gpus));
      const auto n = static_cast<double>(gpus);
      for (const PrefillChunk chunk : {PrefillChunk{1, 0}, PrefillChunk{512, 100}}) {
        EXPECT_EQ(part.forward.work().matrix_flops(chunk) * n, whole.forward.work().matrix_flops(chunk));
        EXPECT_EQ(part.backward.work().matrix_flops(chunk) * n, whole.backward.work().matrix_flops(chunk));
      }
      EXPECT_EQ(part.parameters * gpus, whole.parameters + 2 * shape.hidden * (gpus - 1));
      EXPECT_EQ(part.trained_parameters, part.parameters);
      EXPECT_TRUE(part.gradient_sums.empty());
      EXPECT_EQ(trained_parameters(shape, full_training(), gpus) * shape.dtype_bytes,
                sharded_weight_bytes(shape, gpus).count());
    }
  }
}

// Two all-reduces of one hidden a token forward, after o and down, and two backward, of the gradients of n1 and n2
// (Megatron-LM, figure 4), with frozen weights and without. The loss adds up three f32 numbers, its backward one
// hidden.
TEST(TensorParallel, AllReduces) {
  for (const TrainingShape& training : {full_training(), TrainingShape{}}) {
    const LayerCosts layer = layer_costs(build_layer_graph(llama31_8b(), training, 4));
    const HeadCosts head = head_costs(llama31_8b(), training, 4);
    const auto reduces = [](const PhaseCosts& costs) {
      std::vector<std::string> result;
      for (const Kernel& kernel : costs.kernels) {
        if (kernel.work.reduced_bytes_per_token > 0) result.push_back(kernel.name);
      }
      return result;
    };
    EXPECT_THAT(reduces(layer.forward), ElementsAre("o.all_reduce", "down.all_reduce"));
    EXPECT_THAT(reduces(layer.backward), ElementsAre("n2.all_reduce.d", "n1.all_reduce.d"));
    EXPECT_EQ(layer.forward.work().reduced_bytes_per_token, 2 * 8192);
    EXPECT_EQ(layer.backward.work().reduced_bytes_per_token, 2 * 8192);
    EXPECT_EQ(head.forward.work().reduced_bytes_per_token, 3 * 4);
    EXPECT_EQ(head.backward.work().reduced_bytes_per_token, 8192);
    EXPECT_THAT(reduces(layer_costs(build_layer_graph(llama31_8b(), training)).backward), ElementsAre());
  }
}

// A lean record rebuilds gate and up without a word between the GPUs: both are split by their outputs.
TEST(TensorParallel, RebuildingNeedsNoAllReduce) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training(), 2);
  EXPECT_EQ(find_record_set(graph, "lean")->rebuild.work.reduced_bytes_per_token, 0);
  EXPECT_EQ(find_record_set(graph, "lean")->rebuild.work.matrix_flops_per_token, 2 * 4096.0 * 14336);
  // From the input alone the o product has to be added up again, from nothing the down product of the layer below too.
  EXPECT_EQ(find_record_set(graph, "input")->rebuild.work.reduced_bytes_per_token, 8192);
  EXPECT_EQ(find_record_set(graph, "none")->rebuild.work.reduced_bytes_per_token, 2 * 8192);
}

// In units of hidden (8,192 bytes), MLP tensors 3.5 / GPUs. One GPU is fullest at the gated activation: d y, d gated, d
// gate and d up, 1 + 3 x 3.5. On more of them the gradients of gate and up's product are: d y, n2, its gradient, d gate
// and d up, 3 + 2 x 3.5 / GPUs. n2 and n2.split are one and the same, and their gradient is added up where it lies.
TEST(TensorParallel, BackwardsWorkingMemory) {
  const auto peak = [](std::int64_t gpus) {
    const LayerGraph graph = build_layer_graph(llama31_8b(), full_training(), gpus);
    return backward_schedule(graph, minimal_tensors(graph)).peak_working_bytes_per_token;
  };
  EXPECT_EQ(peak(1), 8192 + 3 * 28672);
  EXPECT_EQ(peak(2), 3 * 8192 + 2 * 14336);
  EXPECT_EQ(peak(4), 3 * 8192 + 2 * 7168);
}

// 70B on eight GPUs, in bf16. Weights of a layer: q, o 2 x 8192 x 1024; k, v 2 x 8192 x 128; MLP 3 x 8192 x 3584; norms
// 2 x 8192: 106,971,136; 80 of them, embedding and head 2 x 16,032 x 8192, a norm of 8192: 8,820,367,360.
// Record of a layer: x, x_mid 32,768; rstd 8; q, attention 2,048 each; k, v 256 each; lse 32; gate, up 7,168 each:
// 51,752. Adapters of rank 16: A of the five split by outputs 5 x 8192 x 16, their B 16 x (1024 + 2 x 128 + 2 x 3584),
// A of o and down 16 x (1024 + 3584), their B 2 x 16 x 8192: 1,126,400.
TEST(TensorParallel, Llama70bOnEightGpus) {
  const ModelShape model = llama31_70b();
  EXPECT_EQ(sharded_weight_bytes(model, 8), Bytes(2 * 8'820'367'360));
  EXPECT_EQ(sharded_kv_bytes_per_token(model, 8), Bytes(40 * 1024));
  EXPECT_EQ(set_bytes(build_layer_graph(model, TrainingShape{}, 8), "minimal"), Bytes(51'752));
  EXPECT_EQ(trained_parameters(model, TrainingShape{}, 8), 80 * 1'126'400);
}

// Three kinds of hardware, each with one thing that takes time.
HardwareSpec free_hardware() {
  HardwareSpec hardware;
  hardware.memory_bandwidth = hardware.matrix_flops = hardware.vector_flops = hardware.interconnect_bandwidth = 1e30;
  hardware.memory_efficiency = hardware.matrix_efficiency = hardware.attention_efficiency = 1;
  return hardware;
}
HardwareSpec slow_interconnect() {
  HardwareSpec hardware = free_hardware();
  hardware.interconnect_bandwidth = 1e8;
  hardware.interconnect_latency = Duration::microseconds(5);
  return hardware;
}
HardwareSpec slow_products() {
  HardwareSpec hardware = free_hardware();
  hardware.matrix_flops = 1e9;
  return hardware;
}

// 100 tokens, each attending to itself and all before: 5,050 keys.
double microseconds(const TrainingCost& cost, PieceKind kind, std::int64_t rebuild = 0, std::int64_t checkpoint = 0) {
  TrainingPiece piece;
  piece.kind = kind;
  piece.tokens = 100;
  piece.attended_keys = 5050;
  piece.rebuild_tokens = rebuild;
  piece.checkpoint_tokens = checkpoint;
  piece.parameters = cost.trained_parameters();
  return cost.piece(piece).in_seconds() * 1e6;
}

// Between two GPUs a ring moves 2 (1/2) of 100 x 16 bytes at 10^8 bytes/s: 16 us and 5 us of latency. Two a layer,
// either way. The head: three of 400 bytes (4 + 5 us) forward, one of 1,600 backward.
TEST(TensorParallel, AllReduceTimesByHand) {
  const TrainingCost cost(slow_interconnect(), tiny_model(), full_training(), 1, 2);
  EXPECT_NEAR(microseconds(cost, PieceKind::kForward), 2 * 21, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kReference), 2 * 21, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kBackward), 2 * 21, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kBackward, 100), 2 * 21, 1e-3) << "gate and up are rebuilt apart";
  EXPECT_NEAR(microseconds(cost, PieceKind::kBackward, 0, 100), 4 * 21, 1e-3) << "the forward runs again";
  EXPECT_NEAR(microseconds(cost, PieceKind::kHead), 3 * 9 + 21, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kReferenceHead), 3 * 9, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kOptimizer), 0, 2e-3) << "no gradient is made in parts";
}

// Kernels take what was measured of one GPU, 1,000 us forward, 1,500 backward, 250 for gate and up, 200 for the head;
// to that comes what passes between the GPUs. Of the head, a frozen model has the forward: three products by the full
// method, one of them forward.
TEST(TensorParallel, MeasuredTimesAreOfOneGpu) {
  TrainingProfile measured;
  measured.forward.dense = PointSeries({{100, 1000}});
  measured.backward.dense = PointSeries({{100, 1500}});
  measured.rebuild = PointSeries({{100, 250}});
  measured.head = PointSeries({{100, 200}});
  measured.recording = PointSeries({{100, 5}});
  measured.optimizer = 70;
  const TrainingCost cost(slow_interconnect(), tiny_model(), full_training(), 1, 2, measured);
  EXPECT_NEAR(microseconds(cost, PieceKind::kForward), 1000 + 2 * 21, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kReference), 1000 + 2 * 21, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kBackward, 100), 1500 + 250 + 2 * 21, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kBackward, 0, 100), 1500 + 1000 + 4 * 21, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kHead), 200 + 3 * 9 + 21, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kOptimizer), 70, 1e-3);
  EXPECT_NEAR(cost.lean_saving(100), 1 - 250.0 / (1000 + 2 * 21), 1e-9);
  EXPECT_EQ(cost.recording(cost.record_bytes().minimal * 2 * 100), Duration::microseconds(5));
  HardwareSpec products = slow_products();
  const TrainingCost head(products, tiny_model(), full_training(), 1, 2, measured);
  const TrainingCost analytic(products, tiny_model(), full_training(), 1, 2);
  EXPECT_NEAR(microseconds(head, PieceKind::kReferenceHead),
              200 * microseconds(analytic, PieceKind::kReferenceHead) / microseconds(analytic, PieceKind::kHead), 1e-2);
}

TEST(TensorParallel, SequenceParallelKeepsParts) {
  TrainingShape training = full_training();
  const TrainingCost whole(slow_interconnect(), tiny_model(), training, 1, 2);
  training.sequence_parallel = true;
  const TrainingCost parts(slow_interconnect(), tiny_model(), training, 1, 2);
  EXPECT_EQ(whole.record_bytes().minimal, Bytes(104));
  EXPECT_EQ(parts.record_bytes().minimal, Bytes(88));
  EXPECT_EQ(parts.record_bytes().lean, Bytes(56));
  EXPECT_EQ(parts.record_bytes().gate_up, Bytes(32));
  EXPECT_EQ(parts.record_bytes().input, Bytes(8));
  EXPECT_EQ(parts.record_bytes().keys_and_values, Bytes(8));
  EXPECT_EQ(parts.working_bytes_per_token(), whole.working_bytes_per_token() + Bytes(32))
      << "both, whole, of one layer";
}

// Gathering 100 x 16 bytes, of which a GPU lacks half, takes 8 us and 5 us of latency: two tensors in each backward.
// The head needs them of the tokens whose last layer is recorded: half as many, 9 us each. Measured kernels know
// nothing of it.
TEST(TensorParallel, GatheringTimesByHand) {
  TrainingShape training = full_training();
  training.sequence_parallel = true;
  const TrainingCost cost(slow_interconnect(), tiny_model(), training, 1, 2);
  EXPECT_NEAR(microseconds(cost, PieceKind::kForward), 2 * 21, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kReference), 2 * 21, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kBackward), 2 * 21 + 2 * 13, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kBackward, 100), 2 * 21 + 2 * 13, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kHead), 3 * 9 + 21, 1e-3) << "nothing of it comes from a record";
  TrainingPiece head;
  head.kind = PieceKind::kHead;
  head.tokens = 100;
  const double without = cost.piece(head).in_seconds();
  head.recorded_targets = 50;  // whose down product is added up over the GPUs: 8 + 5 us
  EXPECT_NEAR((cost.piece(head).in_seconds() - without) * 1e6, 2 * 9 + 13, 2e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kOptimizer), 0, 2e-3);
  TrainingProfile measured;
  measured.backward.dense = PointSeries({{100, 1500}});
  const TrainingCost profiled(slow_interconnect(), tiny_model(), training, 1, 2, measured);
  EXPECT_NEAR(microseconds(profiled, PieceKind::kBackward), 1500 + 2 * 21 + 2 * 13, 1e-3);
}

// On one of two GPUs, q 8 x 4, k and v 8 x 2 are one product, o is 4 x 8, gate and up 8 x 16, down 8 x 8. Each fits one
// tile of 128 x 128: 2 x 128 x 128 FLOPs for each element of the inner dimension, 32.768 us at 10^9 FLOP/s. Weight
// gradients have their 576 FLOPs a token; attention 4 x 4 a key, backward 2.5 times as much. The head: 8 x 5.
TEST(TensorParallel, ProductTimesByHand) {
  constexpr double kTileUs = 32.768;
  const TrainingCost cost(slow_products(), tiny_model(), full_training(), 1, 2);
  EXPECT_NEAR(microseconds(cost, PieceKind::kForward), (8 + 4 + 8 + 8) * kTileUs + 80.8, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kBackward), (8 + 8 + 16 + 8) * kTileUs + 57.6 + 202, 1e-3);
  EXPECT_NEAR(microseconds(cost, PieceKind::kHead), (8 + 5) * kTileUs + 8, 1e-3);
  const TrainingCost whole(slow_products(), tiny_model(), full_training(), 1);
  EXPECT_NEAR(microseconds(whole, PieceKind::kForward), (8 + 8 + 8 + 16) * kTileUs + 2 * 80.8, 1e-3);
}

// Adapters of rank 1 on one of two GPUs. A, B by module: q 8 + 4, k and v 8 + 2, o 4 + 8, gate and up 8 + 8, down 8 +
// 8: 92 a layer. Of these the A where inputs are whole (5 x 8) and the B where outputs are (2 x 8) lie on both GPUs:
// their gradients, 2 x 56 of 2 bytes, are added up in 2.24 + 5 us. With two replicas all 184 are, in 3.68 + 5 us more.
TEST(TensorParallel, SharedAdaptersAddUpTheirGradients) {
  const TrainingShape lora = lora_training(1, TrainingShape{}.lora_modules);
  const TrainingCost cost(slow_interconnect(), tiny_model(), lora, 1, 2);
  EXPECT_EQ(cost.trained_parameters(), 2 * 92);
  EXPECT_EQ(cost.state_bytes(), Bytes(2 * 92 * 14));
  EXPECT_NEAR(microseconds(cost, PieceKind::kOptimizer), 7.24, 2e-3);
  const TrainingCost twice(slow_interconnect(), tiny_model(), lora, 2, 2);
  EXPECT_NEAR(microseconds(twice, PieceKind::kOptimizer), 7.24 + 8.68, 2e-3);
}

// Four GPUs for two key/value heads: two GPUs hold the same head, and k's and v's 2 x 8 x 2 weights twice.
TEST(TensorParallel, FewKeyValueHeadsAreRepeated) {
  const ModelShape model = tiny_model();
  const LayerCosts layer = layer_costs(build_layer_graph(model, full_training(), 4));
  ASSERT_EQ(layer.gradient_sums.size(), 1u);
  EXPECT_EQ(layer.gradient_sums[0].gpus, 2);
  EXPECT_EQ(layer.gradient_sums[0].parameters, 32);
  EXPECT_EQ(layer.parameters, gpu_shard(model, 4).layer_parameters());
  const LayerGraph two = build_layer_graph(model, full_training(), 2);
  EXPECT_EQ(set_bytes(build_layer_graph(model, full_training(), 4), "kv"), set_bytes(two, "kv"));
  // 2 x 32 gradients of 2 bytes between two GPUs: 1.28 + 5 us.
  const TrainingCost cost(slow_interconnect(), model, full_training(), 1, 4);
  EXPECT_NEAR(microseconds(cost, PieceKind::kOptimizer), 6.28, 2e-3);
}

TEST(TensorParallel, RefusesWhatCannotBeSplit) {
  EXPECT_EQ(split_error(llama31_8b(), 8), std::nullopt);
  EXPECT_EQ(split_error(llama31_8b(), 16), std::nullopt);
  EXPECT_EQ(split_error(llama31_8b(), 3), "3 does not divide the 32 query heads of llama-3.1-8b");
  EXPECT_EQ(split_error(qwen25_7b(), 7),
            "7 neither divides the 4 key/value heads of qwen2.5-7b nor is a multiple of them");
  EXPECT_THROW(build_layer_graph(llama31_8b(), full_training(), 3), InternalError);
}

}  // namespace
}  // namespace alchemist

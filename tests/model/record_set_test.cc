#include "sim/model/record_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/shapes.h"

namespace alchemist {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct Expected {
  ModelShape shape;
  std::int64_t all, minimal, lean, kv;
};

// By hand, bytes of one token of one layer of Llama-3.1-8B in bf16 (hidden 4096, intermediate 14336, 32 query and 8
// key/value heads of 128):
//   x, n1, q, attention, x_mid, n2         6 * 4096 * 2           =  49,152
//   k, v                                   2 * 8 * 128 * 2        =   4,096
//   gate, up, gated                        3 * 14336 * 2          =  86,016
//   rstd1, rstd2 (f32), lse (f32, 32 heads)  2 * 4 + 32 * 4       =     136   together 139,400
// minimal: without n1, n2 (16,384) and gated (28,672)             =  94,344
// lean: without gate, up (57,344)                                 =  37,000
// In Llama-2 every head has its own keys: k and v are as wide as x. 7B: 8 * 8192 + 136 + 3 * 22016 = 131,720; - 16,384
// - 22,016 = 93,320; - 44,032 = 49,288. 13B: 8 * 10240 + 2 * 4 + 40 * 4 + 3 * 27648 = 165,032; - 20,480 - 27,648 =
// 116,904; - 55,296 = 61,608.
TEST(RecordSet, BytesOfTheNamedSets) {
  for (const Expected& expected :
       {Expected{llama31_8b(), 139'400, 94'344, 37'000, 4'096}, Expected{llama2_7b(), 131'720, 93'320, 49'288, 16'384},
        Expected{llama2_13b(), 165'032, 116'904, 61'608, 20'480}}) {
    const LayerGraph graph = build_layer_graph(expected.shape, full_training());
    EXPECT_EQ(find_record_set(graph, "all")->bytes_per_token, Bytes(expected.all)) << expected.shape.name;
    EXPECT_EQ(find_record_set(graph, "minimal")->bytes_per_token, Bytes(expected.minimal)) << expected.shape.name;
    EXPECT_EQ(find_record_set(graph, "lean")->bytes_per_token, Bytes(expected.lean)) << expected.shape.name;
    EXPECT_EQ(find_record_set(graph, "kv")->bytes_per_token, Bytes(expected.kv)) << expected.shape.name;
    EXPECT_EQ(find_record_set(graph, "input")->bytes_per_token, Bytes(2 * expected.shape.hidden));
    EXPECT_EQ(find_record_set(graph, "none")->bytes_per_token, Bytes(0));
    for (const char* name : {"kv", "lean", "minimal", "all"}) {
      EXPECT_EQ(find_record_set(graph, name)->cached_bytes_per_token, Bytes(expected.kv)) << name;
    }
  }
  EXPECT_FALSE(find_record_set(build_layer_graph(llama2_7b(), full_training()), "everything"));
}

// 94,344 bytes in each of 32 layers are 3.0 MB a token, the cache 4,096 * 32 = 128 KiB.
TEST(RecordSet, KeysAndValuesAreTheCache) {
  const ModelShape shape = llama31_8b();
  const LayerGraph graph = build_layer_graph(shape, full_training());
  EXPECT_EQ(find_record_set(graph, "kv")->bytes_per_token * shape.layers, shape.kv_bytes_per_token());
  EXPECT_EQ(shape.kv_bytes_per_token(), Bytes(128 * 1024));
}

// A frozen product's input gradient reads its weight alone, but the gated activation, attention and the norms read the
// same tensors whatever is trained: every choice of adapters has full fine-tuning's minimal set.
TEST(RecordSet, LoraHasTheMinimalSetOfFullFineTuning) {
  for (const ModelShape& shape : {llama31_8b(), llama2_7b(), qwen25_7b()}) {
    const LayerGraph full = build_layer_graph(shape, full_training());
    const auto minimal = names(full, minimal_tensors(full));
    EXPECT_THAT(minimal, ElementsAre("x", "rstd1", "v", "q", "k", "attention", "lse", "x_mid", "rstd2", "gate", "up"));
    // Every subset of the seven modules but the empty one.
    for (unsigned mask = 1; mask < 128; ++mask) {
      std::set<LinearModule> modules;
      for (const LinearModule module : kLinearModules) {
        if (mask >> static_cast<unsigned>(module) & 1) modules.insert(module);
      }
      const LayerGraph lora = build_layer_graph(shape, lora_training(16, modules));
      EXPECT_EQ(names(lora, minimal_tensors(lora)), minimal) << mask;
      EXPECT_EQ(bytes_per_token(lora, minimal_tensors(lora)), bytes_per_token(full, minimal_tensors(full)));
    }
  }
}

// A framework keeps for LoRA on q and v: not n2 and gated (no trained weight reads them), but n1 (both A read it) and
// two A outputs of 16 elements: 139,400 - 8,192 - 28,672 + 2 * 32 = 102,600. On all modules: 139,400 + 7 * 32.
TEST(RecordSet, LoraKeepsWhatItsAdaptersRead) {
  const LayerGraph few = build_layer_graph(llama31_8b(), lora_training(16, {LinearModule::kQ, LinearModule::kV}));
  EXPECT_EQ(bytes_per_token(few, needed_tensors(few)), Bytes(102'600));
  const LayerGraph all = build_layer_graph(llama31_8b(), lora_training(16, TrainingShape{}.lora_modules));
  EXPECT_EQ(bytes_per_token(all, needed_tensors(all)), Bytes(139'624));
}

// Below the first layer nothing is trained under LoRA. With adapters on q and v its input norm has no backward, so
// nobody asks for x and rstd1; the adapters' n1 is kept in their place: 94,344 - 8,192 - 4 + 8,192. With an adapter on
// `down` alone, nothing in front of it needs a gradient.
TEST(RecordSet, FirstLayerNeedsLess) {
  TrainingShape training = lora_training(16, {LinearModule::kQ, LinearModule::kV});
  training.input_gradient = false;
  const LayerGraph attention = build_layer_graph(llama31_8b(), training);
  EXPECT_THAT(names(attention, minimal_tensors(attention)),
              ElementsAre("n1", "v", "q", "k", "attention", "lse", "x_mid", "rstd2", "gate", "up"));
  EXPECT_EQ(bytes_per_token(attention, minimal_tensors(attention)), Bytes(94'340));
  EXPECT_FALSE(attention.find_tensor("d.x"));
  EXPECT_FALSE(attention.find_tensor("d.k.linear"));

  training.lora_modules = {LinearModule::kDown};
  const LayerGraph down = build_layer_graph(llama31_8b(), training);
  EXPECT_THAT(names(down, needed_tensors(down)), ElementsAre("gated", "a.down"));
  EXPECT_FALSE(down.find_operator("attention.dx"));
}

// The numbers come from the declared needs: without q among attention's, backward no longer needs q (8,192 bytes).
TEST(RecordSet, FollowsFromTheDeclaredNeeds) {
  LayerSpec spec = declare_layer(llama31_8b(), full_training());
  for (OperatorSpec& op : spec.operators) {
    if (op.kind == OperatorKind::kAttention) std::erase(op.gradients.front().reads, "q");
  }
  const LayerGraph graph = derive_layer_graph(spec);
  EXPECT_EQ(bytes_per_token(graph, minimal_tensors(graph)), Bytes(94'344 - 8'192));
  EXPECT_EQ(bytes_per_token(graph, lean_tensors(graph)), Bytes(37'000 - 8'192));
}

// Prefill: the cache holds rotated keys and values; row statistics never leave their kernel; all else lies in device
// memory until it is overwritten.
TEST(RecordSet, WhereServingLeavesTensors) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  std::vector<std::string> cached, registers;
  for (std::uint32_t i = 0; i < graph.tensors.size() && !graph.tensors[i].gradient_of; ++i) {
    const ServingOrigin origin = serving_origin(graph, TensorId(i));
    if (origin == ServingOrigin::kCached) cached.push_back(graph.tensors[i].spec.name);
    if (origin == ServingOrigin::kInRegisters) registers.push_back(graph.tensors[i].spec.name);
  }
  EXPECT_THAT(cached, UnorderedElementsAre("k", "v"));
  EXPECT_THAT(registers, UnorderedElementsAre("rstd1", "lse", "rstd2"));
}

TEST(RecordSet, RebuildsOnlyWhatIsMissing) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  EXPECT_THAT(find_record_set(graph, "all")->rebuild.operators, IsEmpty());

  const RebuildPlan minimal = find_record_set(graph, "minimal")->rebuild;
  EXPECT_THAT(names(graph, minimal.operators), ElementsAre("input_norm.scale", "post_norm.scale", "silu_mul"));
  EXPECT_FALSE(minimal.matrix_products);
  EXPECT_FALSE(minimal.from_below);
  // Two scalings: read x and rstd, write n. The activation reads two wide tensors and writes one.
  EXPECT_EQ(minimal.work.bytes_per_token, 2 * (8192 + 4 + 8192) + 3 * 28672);
  EXPECT_EQ(minimal.work.flops_per_token(1000), 2 * 2 * 4096 + 5 * 14336);

  const RebuildPlan lean = find_record_set(graph, "lean")->rebuild;
  EXPECT_THAT(names(graph, lean.operators),
              ElementsAre("input_norm.scale", "post_norm.scale", "gate_proj", "up_proj", "silu_mul"));
  EXPECT_TRUE(lean.matrix_products);
  EXPECT_EQ(lean.work.matrix_flops_per_token, 2 * 2 * 4096.0 * 14336);

  // With the input alone, all runs again but what only the layer's output needs.
  const RebuildPlan input = find_record_set(graph, "input")->rebuild;
  EXPECT_FALSE(input.from_below);
  EXPECT_THAT(names(graph, input.operators), ::testing::Not(::testing::Contains("down_proj")));
  EXPECT_EQ(input.work.matrix_flops_per_token, 2 * (2 * 4096.0 * 4096 + 2 * 4096.0 * 1024 + 2 * 4096.0 * 14336));

  // With nothing, the layer's own output is demanded as well: the whole forward, except that nothing is cached.
  const RebuildPlan none = find_record_set(graph, "none")->rebuild;
  EXPECT_TRUE(none.from_below);
  EXPECT_EQ(none.operators.size(), graph.operators_of(Phase::kForward).size() - 1);
  EXPECT_EQ(none.work.matrix_flops_per_token, 2.0 * (llama31_8b().layer_parameters() - 2 * 4096));
  // The cache saves the k and v products, not the input.
  const RebuildPlan kv = find_record_set(graph, "kv")->rebuild;
  EXPECT_TRUE(kv.from_below);
  EXPECT_EQ(none.work.matrix_flops_per_token - kv.work.matrix_flops_per_token, 2 * 2 * 4096.0 * 1024);
}

// FLOPs to rebuild one byte, matrix products dominating. A product with 4096 inputs: 2 * 4096 / 2 bytes = 4,096 for
// gate, up, q, k, v. The input comes from the layer below by its down product: 2 * 14336 / 2 = 14,336. The attention
// output at S tokens, S/2 keys on average: 4 * 4096 * S/2 / 8192 = S.
TEST(RecordSet, RebuildIntensities) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  const auto minimal = minimal_tensors(graph);
  constexpr double kTokens = 2048;
  const auto intensity = [&](const char* name) {
    return rebuild_flops_per_byte(graph, minimal, graph.find_tensor(name).value(), kTokens / 2);
  };
  for (const char* name : {"gate", "up", "q", "k", "v"}) EXPECT_NEAR(intensity(name), 4096, 4096 * 0.01) << name;
  EXPECT_NEAR(intensity("x"), 14336, 14336 * 0.01);
  EXPECT_NEAR(intensity("attention"), kTokens, kTokens * 0.02);  // the softmax adds 4 * 32 to 4 * 4096
}

}  // namespace
}  // namespace alchemist

// Steps priced by hand. Three layers. Dense operators of a layer: 9 us + 1 us a token; embedding 2 us, final norm 1 us;
// head 90 us + 10 us a sequence; attention with prompts: see mixed_us. Host 50 us a step.
#include "sim/model/profile_cost.h"

#include <gtest/gtest.h>

#include "sim/base/error.h"

namespace alchemist {
namespace {

// Multilinear, so that interpolation gives exactly this.
double mixed_us(double chunk, double context, double decodes, double decode_context) {
  return 2 + chunk / 8 + context / 16 + decodes * decode_context / 64;
}

KernelProfile small_profile() {
  KernelProfile profile;
  profile.origin = "test";
  profile.layer_dense = PointSeries({{1, 10}, {64, 73}});
  profile.embedding = PointSeries({{1, 2}});
  profile.final_norm = PointSeries({{1, 1}});
  profile.head = PointSeries({{1, 100}, {4, 130}});
  // Launch 5 us; slope of the largest batch 4 * 100 tokens of one KV head in 4 us: 100 tokens a microsecond.
  profile.decode.fill({{{1, 100}, 5.0}, {{1, 200}, 6.0}, {{4, 100}, 6.0}, {{4, 200}, 10.0}});
  std::map<Grid<4>::Point, double> mixed;
  for (const std::int32_t c : {4, 16}) {
    for (const std::int32_t p : {0, 32}) {
      for (const std::int32_t n : {0, 4}) {
        for (const std::int32_t k : {16, 64}) mixed[{c, p, n, k}] = mixed_us(c, p, n, k);
      }
    }
  }
  profile.mixed.fill(mixed);
  return profile;
}

HardwareSpec profiled_hardware() {
  HardwareSpec hardware;
  hardware.name = "test";
  hardware.memory_bandwidth = 1e11;
  hardware.memory_efficiency = 0.5;
  hardware.matrix_flops = 1e12;
  hardware.matrix_efficiency = 0.5;
  hardware.attention_efficiency = 0.5;
  hardware.processors = 4;
  hardware.step_overhead = Duration::microseconds(50);
  return hardware;
}

ModelShape profiled_model() { return {"test", 3, 64, 128, 4, 1, 16, 100, 1024, false, false, 2}; }

ProfileCost cost_with(bool cuda_graphs, bool async) {
  ProfileCostOptions options;
  options.max_num_batched_tokens = 64;
  options.max_num_seqs = 8;
  options.max_context = 128;
  options.cuda_graphs = cuda_graphs;
  options.async_scheduling = async;
  return ProfileCost(small_profile(), profiled_hardware(), profiled_model(), options);
}

std::int64_t price(const ProfileCost& cost, const std::vector<PrefillChunk>& prefills, std::int32_t decodes = 0,
                   std::int64_t sum = 0, std::int32_t max = 0) {
  BatchShape shape;
  shape.prefills = prefills;
  shape.decodes = decodes;
  shape.decode_context_sum = sum;
  shape.decode_context_max = max;
  shape.sampled = decodes;
  return cost.step(shape).count_ns();
}

// A chunk of 6 tokens after 4, beside decodes of 15 and 25 tokens: 8 tokens. Dense 3 * 17 + 2 + 1 = 54. A query of the
// chunk sees 4 + 6/2 = 7 keys on average: a chunk of 6 after 4. Attention 3 * (2 + 6/8 + 4/16 + 2 * 20/64) = 10.875.
// Three sequences in the head: 120. In all 184.875 us, and the host's 50 unless they are hidden.
TEST(ProfileCost, MixedStepByHand) {
  EXPECT_EQ(price(cost_with(true, false), {{6, 4}}, 2, 40, 25), 234'875);
  EXPECT_EQ(price(cost_with(true, true), {{6, 4}}, 2, 40, 25), 184'875);
}

// Three decodes of 70 tokens in all: attention 3 * (5 + 70/100) = 17.1, head 120. Dense operators run at the captured
// size of 4: 3 * 13 + 3 = 42 us, or without graphs at 3 tokens: 39.
TEST(ProfileCost, DecodeStepIsPaddedToACapturedSize) {
  EXPECT_EQ(price(cost_with(true, true), {}, 3, 70, 30), 179'100);
  EXPECT_EQ(price(cost_with(false, true), {}, 3, 70, 30), 176'100);
}

// Two prompts of 4 tokens: 16 pairs of query and key for 8 queries, 2 keys each, as in chunks of 4 tokens, of which
// there are two: attention 3 * 2 * (2 + 4/8) = 15; dense 54; head 110.
TEST(ProfileCost, ShortPromptsSideBySide) {
  EXPECT_EQ(price(cost_with(true, true), {{4, 0}, {4, 0}}), 15'000 + 54'000 + 110'000);
}

// Split over two GPUs: two all-reduces a layer and step, of 8 tokens (decodes alone: at the captured size) of 64
// elements of 2 bytes, 2 (1/2) of them at 10^9 bytes/s, 1.024 us, and 5 us of latency. Times of kernels are as
// measured.
TEST(ProfileCost, WhatPassesBetweenGpusIsAdded) {
  HardwareSpec hardware = profiled_hardware();
  hardware.interconnect_bandwidth = 1e9;
  hardware.interconnect_latency = Duration::microseconds(5);
  KernelProfile profile = small_profile();
  profile.tensor_parallel = 2;
  ModelShape model = profiled_model();
  model.kv_heads = 2;  // one on each GPU
  ProfileCostOptions options;
  options.max_num_batched_tokens = 64;
  options.max_num_seqs = 8;
  options.max_context = 128;
  options.tensor_parallel = 2;
  const ProfileCost cost(profile, hardware, model, options);
  EXPECT_EQ(price(cost, {{6, 4}}, 2, 40, 25), 184'875 + 3 * 2 * (5'000 + 1'024));
  EXPECT_EQ(price(cost, {}, 3, 70, 30), 179'100 + 3 * 2 * (5'000 + 512));
}

// A host slower than the GPU limits an asynchronous engine.
TEST(ProfileCost, HostTimeIsTheFloorOfAsynchronousSteps) {
  HardwareSpec hardware = profiled_hardware();
  hardware.step_overhead = Duration::milliseconds(1);
  ProfileCostOptions options;
  options.max_num_batched_tokens = options.max_num_seqs = 8;
  const ProfileCost cost(small_profile(), hardware, profiled_model(), options);
  EXPECT_EQ(price(cost, {{6, 4}}, 2, 40, 25), 1'000'000);
}

// vLLM's default sizes: 1, 2, 4, steps of 8 up to 256, steps of 16 up to 512.
TEST(ProfileCost, CapturedSizes) {
  const std::vector<std::pair<std::int32_t, std::int32_t>> expected = {
      {0, 0},     {1, 1},     {2, 2},     {3, 4},     {4, 4},     {5, 8},     {8, 8},     {9, 16},     {255, 256},
      {256, 256}, {257, 272}, {272, 272}, {273, 288}, {511, 512}, {512, 512}, {513, 513}, {2048, 2048}};
  for (const auto& [tokens, captured] : expected) EXPECT_EQ(captured_size(tokens), captured) << tokens;
}

TEST(ProfileCost, SaysHowFarOutsideTheMeasurementsItWent) {
  ProfileCostOptions options;
  options.max_num_batched_tokens = 128;
  const ProfileCost cost(small_profile(), profiled_hardware(), profiled_model(), options);
  ASSERT_EQ(cost.warnings().size(), 1u);  // steps of up to 128 tokens where 64 were measured
  EXPECT_NE(cost.warnings()[0].find("128 tokens were priced, 2.0 times beyond the 64"), std::string::npos);
  price(cost, {{6, 96}});  // behind 96 tokens where 32 were measured
  ASSERT_EQ(cost.warnings().size(), 2u);
  EXPECT_NE(cost.warnings()[1].find("3.00 times"), std::string::npos);
  price(cost, {}, 2, 1'600, 800);  // decoding behind 800 tokens each where 200 were measured
  EXPECT_NE(cost.warnings()[1].find("4.00 times"), std::string::npos);
  ASSERT_EQ(cost.warnings().size(), 2u);
  price(cost, {}, 20, 2'000, 100);  // 20 requests where 4 were measured
  ASSERT_EQ(cost.warnings().size(), 3u);
  EXPECT_NE(cost.warnings()[2].find("5.00 times as many"), std::string::npos);
}

// Times that fall towards the end of the measurements reach zero when they are taken far beyond it.
TEST(ProfileCost, ExtrapolationBelowZeroIsReported) {
  KernelProfile profile = small_profile();
  profile.layer_dense = PointSeries({{1, 100}, {2, 50}});
  ProfileCostOptions options;
  options.max_num_batched_tokens = options.max_num_seqs = 64;
  const ProfileCost cost(profile, profiled_hardware(), profiled_model(), options);
  EXPECT_GT(price(cost, {{2, 0}}), 0);
  EXPECT_THROW(price(cost, {{60, 0}}), ConfigError);
}

// Without measured attention and head (Vidur's tables) the roofline gives them; dense operators stay measured.
TEST(ProfileCost, RooflineFillsWhatTheProfileLacks) {
  KernelProfile profile = small_profile();
  profile.decode = {};
  profile.mixed = {};
  ProfileCostOptions options;
  options.max_num_batched_tokens = options.max_num_seqs = 64;
  const HardwareSpec hardware = profiled_hardware();
  const ProfileCost cost(profile, hardware, profiled_model(), options);
  const RooflineCost roofline(hardware, profiled_model(), 1, 64, true);
  BatchShape shape;
  shape.decodes = shape.sampled = 8;
  shape.decode_context_sum = 4000;
  shape.decode_context_max = 500;
  const double rest = roofline.attention_seconds(shape) + roofline.head_seconds(8);
  EXPECT_EQ(cost.step(shape), Duration::seconds(54e-6 + rest));
}

}  // namespace
}  // namespace alchemist

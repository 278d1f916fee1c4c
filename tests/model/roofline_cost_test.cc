// A GPU that is easy to compute with: 4 processors, 5e11 FLOP/s and 5e10 bytes/s in practice.
#include "sim/model/roofline_cost.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

HardwareSpec small_hardware() {
  HardwareSpec hardware;
  hardware.name = "test";
  hardware.memory_bandwidth = 1e11;
  hardware.memory_efficiency = 0.5;
  hardware.matrix_flops = 1e12;
  hardware.matrix_efficiency = 0.5;
  hardware.attention_efficiency = 0.25;
  hardware.processors = 4;
  hardware.kernel_overhead = Duration::microseconds(2);
  hardware.step_overhead = Duration::microseconds(100);
  hardware.interconnect_bandwidth = 1e10;
  hardware.interconnect_latency = Duration::microseconds(5);
  return hardware;
}

ModelShape small_model() { return {"test", 4, 1024, 2048, 8, 2, 128, 1000, 4096, false, false, 2}; }

// 256 x 1024 by 1024 x 512: 2 * 4 tiles in two full waves, 2 * 256 * 1024 * 512 FLOPs at 5e11 a second. The traffic of
// 2 * (256 * 1024 + 1024 * 512 + 256 * 512) bytes takes 37 us, which the arithmetic hides.
TEST(MatrixProduct, ComputeBound) {
  EXPECT_NEAR(matrix_product_seconds(small_hardware(), 256, 1024, 512, 2), 2.0 * 256 * 1024 * 512 / 5e11, 1e-15);
}

// 3 x 3 tiles are two waves and one tile: three waves are paid.
TEST(MatrixProduct, LastWaveIsPaidInFull) {
  EXPECT_NEAR(matrix_product_seconds(small_hardware(), 384, 1024, 384, 2), 12 * 2.0 * 128 * 128 * 1024 / 5e11, 1e-15);
}

// One row reads the 1024 x 512 matrix: 2 * (1024 + 1024 * 512 + 512) bytes, at 5e8 a second 2.1 ms.
TEST(MatrixProduct, MemoryBound) {
  HardwareSpec hardware = small_hardware();
  hardware.memory_bandwidth = 1e9;
  EXPECT_NEAR(matrix_product_seconds(hardware, 1, 1024, 512, 2), 2.0 * (1024 + 1024 * 512 + 512) / 5e8, 1e-15);
}

// Keys and values of a token: 2 * 256 * 2 bytes a layer. Decodes read 300 of them: 6.144 us. A chunk of 10 after 6:
// 4 * 1024 * (60 + 55) FLOPs at 2.5e11 a second take 1.88 us, and 16 tokens' bytes 0.33 us. Four layers.
TEST(RooflineCost, AttentionByHand) {
  const RooflineCost cost(small_hardware(), small_model(), 1, 64, false);
  const std::vector<PrefillChunk> prefills = {{10, 6}};
  BatchShape shape;
  shape.prefills = prefills;
  shape.decodes = 3;
  shape.decode_context_sum = 300;
  shape.decode_context_max = 150;
  const double decode = 300 * 1024 / 5e10, prompt = 4.0 * 1024 * 115 / 2.5e11;
  EXPECT_NEAR(cost.attention_seconds(shape), 4 * (decode + prompt), 1e-15);
}

BatchShape prompt_of(const std::vector<PrefillChunk>& chunk) {
  BatchShape shape;
  shape.prefills = chunk;
  shape.sampled = 1;
  return shape;
}

// Two GPUs, 10 tokens of 1024 elements of 2 bytes: a ring all-reduce moves 2 * (1/2) * 20480 bytes in 2.048 us and 5 us
// of latency; two of them in each of 4 layers: 56.384 us. A single GPU has none.
TEST(RooflineCost, AllReduceOfTensorParallelism) {
  HardwareSpec instant = small_hardware();
  instant.interconnect_bandwidth = 1e30;
  instant.interconnect_latency = Duration();
  const std::vector<PrefillChunk> chunk = {{10, 0}};
  const auto difference = [&](std::int32_t gpus) {
    return RooflineCost(small_hardware(), small_model(), gpus, 64, false).step(prompt_of(chunk)) -
           RooflineCost(instant, small_model(), gpus, 64, false).step(prompt_of(chunk));
  };
  EXPECT_NEAR(static_cast<double>(difference(2).count_ns()), 56'384, 1);
  EXPECT_EQ(difference(1), Duration());
}

// Two GPUs halve every matrix product of a large step, so that it takes less than on one GPU and more than half.
TEST(RooflineCost, TensorParallelismSplitsTheWork) {
  const std::vector<PrefillChunk> chunk = {{2048, 0}};
  const double one = RooflineCost(small_hardware(), small_model(), 1, 2048, true).step(prompt_of(chunk)).in_seconds();
  const double two = RooflineCost(small_hardware(), small_model(), 2, 2048, true).step(prompt_of(chunk)).in_seconds();
  EXPECT_LT(two, one);
  EXPECT_GT(two, one / 2);
}

// Two key/value heads on four GPUs: each has one whole head, and reads as many of its bytes as one of two GPUs does.
TEST(RooflineCost, RepeatedKeyValueHeadsAreReadInFull) {
  BatchShape shape;
  shape.decodes = 3;
  shape.decode_context_sum = 300;
  shape.decode_context_max = 150;
  EXPECT_NEAR(RooflineCost(small_hardware(), small_model(), 2, 64, false).attention_seconds(shape),
              4 * 300 * 512 / 5e10, 1e-15);
  EXPECT_NEAR(RooflineCost(small_hardware(), small_model(), 4, 64, false).attention_seconds(shape),
              4 * 300 * 512 / 5e10, 1e-15);
}

TEST(RooflineCost, NeverFallsWithTokens) {
  const RooflineCost cost(small_hardware(), small_model(), 1, 1024, false);
  Duration before;
  for (std::int32_t tokens = 1; tokens <= 1024; ++tokens) {
    const std::vector<PrefillChunk> chunk = {{tokens, 0}};
    const Duration time = cost.step(prompt_of(chunk));
    ASSERT_GE(time, before) << tokens;
    before = time;
  }
}

// The host's 100 us add to a synchronous step, and hide behind an asynchronous one that is longer.
TEST(RooflineCost, HostTime) {
  const std::vector<PrefillChunk> chunk = {{64, 0}};
  const Duration sync = RooflineCost(small_hardware(), small_model(), 1, 64, false).step(prompt_of(chunk));
  const Duration async = RooflineCost(small_hardware(), small_model(), 1, 64, true).step(prompt_of(chunk));
  EXPECT_EQ(sync - async, Duration::microseconds(100));
  EXPECT_GT(async, Duration::microseconds(100));
}

// The head computes logits for the sequences that need a token alone: one row of 1024 by 1000, and a launch.
TEST(RooflineCost, TheHeadIsForSampledTokens) {
  const RooflineCost cost(small_hardware(), small_model(), 1, 600, false);
  const std::vector<PrefillChunk> chunk = {{512, 0}};
  BatchShape shape = prompt_of(chunk);
  const double with = cost.step(shape).in_seconds();
  shape.sampled = 0;
  EXPECT_NEAR(with - cost.step(shape).in_seconds(), matrix_product_seconds(small_hardware(), 1, 1024, 1000, 2) + 2e-6,
              2e-9);
}

// Of each layer, without the head: four products; elements of 2 bytes at 5e10 bytes/s, where for each of 512 tokens two
// norms move 4 * 1024 each, rotary reads and writes 1536, and the activation reads two of 2048 and writes one; ten
// launches; attention. And the host's 100 us.
TEST(RooflineCost, APromptByHand) {
  const HardwareSpec hardware = small_hardware();
  const RooflineCost cost(hardware, small_model(), 1, 600, false);
  const std::vector<PrefillChunk> chunk = {{512, 0}};
  BatchShape shape = prompt_of(chunk);
  shape.sampled = 0;
  const double products =
      matrix_product_seconds(hardware, 512, 1024, 1536, 2) + matrix_product_seconds(hardware, 512, 1024, 1024, 2) +
      matrix_product_seconds(hardware, 512, 1024, 4096, 2) + matrix_product_seconds(hardware, 512, 2048, 1024, 2);
  const double elementwise = 512.0 * (2 * 4 * 1024 + 2 * 1536 + 3 * 2048) * 2 / 5e10;
  EXPECT_NEAR(cost.step(shape).in_seconds(),
              4 * (products + elementwise + 10 * 2e-6) + cost.attention_seconds(shape) + 100e-6, 1e-8);
}

// Adapters of rank 16 on all seven modules: two products each, 14 launches a layer. One token reads its input and A,
// writes the 16 numbers between, reads them and B, and adds to what the module has written. Inputs are 6 * 1024 + 2048
// elements, outputs 1024 + 2 * 256 + 1024 + 2 * 2048 + 1024; arithmetic hides behind that.
TEST(RooflineCost, AdaptersAreServedToo) {
  HardwareSpec hardware = small_hardware();
  hardware.vector_flops = 1e12;
  const std::vector<PrefillChunk> chunk = {{1, 0}};
  const RooflineCost plain(hardware, small_model(), 1, 64, false);
  const RooflineCost adapted(hardware, small_model(), 1, 64, false, TrainingShape{.lora_rank = 16});
  constexpr double kIn = 6 * 1024 + 2048, kOut = 1024 + 2 * 256 + 1024 + 2 * 2048 + 1024, kBetween = 7 * 16;
  const double bytes = 2 * (16 * kIn + kIn + kBetween + 16 * kOut + kBetween + 2 * kOut);
  EXPECT_NEAR((adapted.step(prompt_of(chunk)) - plain.step(prompt_of(chunk))).in_seconds(),
              4 * (14 * 2e-6 + bytes / 5e10), 2e-9);
  TrainingShape none{.lora_rank = 16};
  none.lora_modules.clear();
  EXPECT_EQ(RooflineCost(hardware, small_model(), 1, 64, false, none).step(prompt_of(chunk)),
            plain.step(prompt_of(chunk)));
}

}  // namespace
}  // namespace alchemist

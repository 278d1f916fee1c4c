#include "sim/model/micro_batch.h"

#include <gtest/gtest.h>

#include "tests/model/shapes.h"

namespace alchemist {
namespace {

HardwareSpec gpu(double flops, double bandwidth) {
  HardwareSpec hardware;
  hardware.matrix_flops = flops;
  hardware.memory_bandwidth = bandwidth;
  hardware.matrix_efficiency = hardware.memory_efficiency = 1;
  return hardware;
}

// Two FLOPs and two bytes for each weight: with 200 FLOPs to a byte 200 tokens take as long as the reading, with 800
// the norms' few weights make it a token more than 800.
TEST(MicroBatch, HidesTheReadingOfTheWeights) {
  EXPECT_EQ(usual_micro_batch_tokens(gpu(8e14, 4e12), llama31_8b(), full_training()), 2048);
  EXPECT_EQ(usual_micro_batch_tokens(gpu(32e14, 4e12), llama31_8b(), full_training()), 4096);
}

// A token passes 1 of 8 experts, each as wide as the dense layer's MLP: 218,103,808 weights and the router's, of the
// bytes of 1,450,737,664 and these. 200 x 6.65 tokens take as long as the reading, and four times as many are 5,321.
TEST(MicroBatch, IsLargerForAMixtureOfExperts) {
  ModelShape mixture = llama31_8b();
  mixture.experts = 8;
  mixture.experts_per_token = 1;
  EXPECT_EQ(usual_micro_batch_tokens(gpu(8e14, 4e12), mixture, full_training()), 8192);
  EXPECT_EQ(usual_micro_batch_tokens(gpu(6e14, 4e12), mixture, full_training()), 4096);
  EXPECT_EQ(usual_micro_batch_tokens(gpu(8e17, 4e12), mixture, full_training()), 65536) << "at most";
  // Split over two GPUs, each reads half for half of the arithmetic.
  EXPECT_EQ(usual_micro_batch_tokens(gpu(8e14, 4e12), mixture, full_training(), 2), 8192);
}

}  // namespace
}  // namespace alchemist

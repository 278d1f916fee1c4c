#include "sim/model/training_profile.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "sim/base/error.h"
#include "sim/model/training_cost.h"

namespace alchemist {
namespace {

class TrainingProfileTest : public ::testing::Test {
 protected:
  ~TrainingProfileTest() override { std::filesystem::remove(file_); }
  TrainingProfile read(const std::string& rows) {
    std::ofstream(file_) << "kind,tokens,attended_keys,time_us\n" << rows;
    return read_training_profile(file_);
  }
  void expect_error(const std::string& rows, const std::string& message) {
    try {
      read(rows);
      ADD_FAILURE() << "expected: " << message;
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
  }
  std::string file_ = (std::filesystem::temp_directory_path() /
                       ("training_profile_test." + std::to_string(::getpid()) + "." +
                        std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) + ".csv"))
                          .string();
};

constexpr const char* kRest =
    "rebuild,100,0,30\nhead,100,0,200\nhead,200,0,380\nrecording,100,0,5\noptimizer,1,0,70\nbackward,100,50,250\n";

// (160 - 100) + (420 - 200) us for (700 - 100) + (2300 - 300) more keys: 280 / 2600 us a key. Dense at 100 tokens:
// 100 - 100 * 280 / 2600 = 89.23; at 200: 200 - 300 * 280 / 2600 = 167.69.
TEST_F(TrainingProfileTest, SeparatesTokensAndAttendedKeys) {
  const TrainingProfile profile = read(
      "forward,100,100,100\nforward,100,700,160\nforward,200,300,200\nforward,200,2300,420\n" + std::string(kRest));
  EXPECT_NEAR(profile.forward.per_key, 280.0 / 2600, 1e-12);
  EXPECT_NEAR(profile.forward.dense.at(100), 100 - 100 * 280.0 / 2600, 1e-9);
  EXPECT_NEAR(profile.forward.at(150, 1000), (89.230769 + 167.692308) / 2 + 1000 * 280.0 / 2600, 1e-5);
  EXPECT_EQ(profile.backward.per_key, 0);
  EXPECT_EQ(profile.backward.at(100, 12345), 250);
  EXPECT_EQ(profile.head.at(150), 290);
  EXPECT_EQ(profile.rebuild.at(100), 30);
  EXPECT_EQ(profile.recording.at(100), 5);
  EXPECT_EQ(profile.optimizer, 70);
}

// Gate and up of 64 tokens were measured to take 300 us and of 128 tokens 100 us: neither is more than noise, and the
// 200 us that they share hold for any number of tokens. Left as they are, 2048 tokens would take less than nothing.
TEST_F(TrainingProfileTest, NoiseMakesNothingFallBelowZero) {
  const TrainingProfile profile = read(
      "forward,100,100,100\nbackward,100,50,250\nrebuild,64,0,300\nrebuild,128,0,100\nhead,100,0,200\n"
      "recording,100,0,5\noptimizer,1,0,70\n");
  for (const double tokens : {1, 64, 100, 128, 2048}) EXPECT_EQ(profile.rebuild.at(tokens), 200) << tokens;
}

// A frozen model's forward is priced as the trained one's; its head as the share of forward in the head's work: LoRA
// does two products forward and backward together, of equal size, and reads the weights for each.
TEST_F(TrainingProfileTest, ReferencePiecesHaveAPrice) {
  ModelShape model;
  model.layers = 2;
  model.hidden = 128;
  model.intermediate = 128;
  model.heads = model.kv_heads = 2;
  model.head_dim = 64;
  model.vocabulary = 1'000'000;
  HardwareSpec hardware;
  hardware.memory_bandwidth = 1e11;
  hardware.memory_efficiency = hardware.matrix_efficiency = hardware.attention_efficiency = 1;
  hardware.matrix_flops = 1e9;  // so little that products are all that counts
  hardware.vector_flops = 1e15;
  const TrainingCost cost(hardware, model, TrainingShape(), 1, 1,
                          read("forward,100,100,100\nforward,200,100,160\n" + std::string(kRest)));
  TrainingPiece piece;
  piece.tokens = 150;
  piece.kind = PieceKind::kReference;
  EXPECT_EQ(cost.piece(piece), Duration::microseconds(130));
  piece.kind = PieceKind::kReferenceHead;
  EXPECT_NEAR(cost.piece(piece).in_seconds(), 145e-6, 2e-6);
}

// Prices of a small model on a GPU whose analytic times nothing may count: they are those of no GPU there is.
TrainingCost cost_of(const TrainingProfile& profile) {
  const ModelShape model{
      .layers = 2, .hidden = 128, .intermediate = 128, .heads = 2, .kv_heads = 2, .head_dim = 64, .vocabulary = 100};
  HardwareSpec hardware;
  hardware.memory_bandwidth = hardware.matrix_flops = hardware.vector_flops = 1;
  hardware.memory_efficiency = hardware.matrix_efficiency = hardware.attention_efficiency = 1;
  return {hardware, model, TrainingShape(), 1, 1, profile};
}

// What is measured: forward of 100 tokens 1,000 us, what makes their gate and up again 250 us, the head 200 us.
// Backward of 200 tokens takes 1,500 us; where 100 of them kept their layer's input alone, their forward comes again;
// where 100 have a lean record, gate and up. In front of the head, down alone makes an output from a record: of three
// products of one size, two of which are gate and up.
TEST_F(TrainingProfileTest, WhatIsMadeAgainIsChargedAsMeasured) {
  const TrainingCost cost =
      cost_of(read("forward,100,5050,1000\nbackward,200,20100,1500\nrebuild,100,0,250\nhead,100,0,200\n"
                   "recording,100,0,5\noptimizer,1,0,70\n"));
  TrainingPiece backward;
  backward.kind = PieceKind::kBackward;
  backward.tokens = 200;
  backward.attended_keys = 10'100;
  EXPECT_EQ(cost.piece(backward), Duration::microseconds(1'500));
  backward.rebuild_tokens = 100;
  EXPECT_EQ(cost.piece(backward), Duration::microseconds(1'500 + 250));
  backward.checkpoint_tokens = 100;
  EXPECT_EQ(cost.piece(backward), Duration::microseconds(1'500 + 250 + 1'000));
  TrainingPiece head;
  head.kind = PieceKind::kHead;
  head.tokens = 100;
  EXPECT_EQ(cost.piece(head), Duration::microseconds(200));
  head.rebuild_tokens = 100;
  EXPECT_EQ(cost.piece(head), Duration::microseconds(200 + 250));
  head.recorded_targets = 100;
  EXPECT_EQ(cost.piece(head), Duration::microseconds(200 + 250 + 125));
}

// Of the measured forward.
TEST_F(TrainingProfileTest, TellsWhatALeanRecordSaves) {
  const TrainingCost cost =
      cost_of(read("forward,100,5050,1000\nbackward,100,5050,1500\nrebuild,100,0,250\nhead,100,0,200\n"
                   "recording,100,0,5\noptimizer,1,0,70\n"));
  EXPECT_NEAR(cost.lean_saving(100), 0.75, 1e-9);
}

TEST_F(TrainingProfileTest, BadFilesAreRefused) {
  expect_error(kRest, "has no row of kind \"forward\"");
  expect_error("forwards,1,1,1\n", ":2: unknown kind \"forwards\"");
  expect_error("forward,1,1,0\n", ":2: expected a time greater than 0");
  expect_error("forward,x,1,1\n", ":2: ");
}

}  // namespace
}  // namespace alchemist

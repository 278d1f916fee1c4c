// A calibration whose figures are made up, as a profile: everything of it can be told by hand.
#include "sim/app/calibration_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "sim/app/calibrated_profile.h"
#include "sim/app/model_config.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

using ::testing::HasSubstr;

Timing median(double us) { return {us - 1, us, us + 2}; }

StepCase step(std::vector<PrefillChunk> chunks, std::int32_t decodes, std::int32_t context, double us) {
  StepCase shape;
  shape.chunks = std::move(chunks);
  shape.decodes = decodes;
  shape.decode_context = context;
  shape.time = median(us);
  return shape;
}

// Operations take a quarter more than their medians. With that a step takes 12.5 us a token before its attention and a
// head 10 us for one sequence, 20 us for four. Attention takes 10 us for 4 x 32 keys, twice as much for twice as many
// requests or keys, and 10 us for a prompt of eight, twice as much with a context of 32. All four layers together.
Calibration made_up() {
  Calibration c;
  c.disturbance = 1.25;
  for (const std::int32_t tokens : {4, 8, 16}) c.base.push_back(step({{tokens, 0}}, 0, 0, 10 * tokens));
  c.head = {step({{1, 0}}, 0, 0, 20), step({{1, 0}}, 0, 0, 28), step({}, 4, 1, 30), step({}, 4, 1, 46)};
  c.head[1].head = c.head[3].head = true;
  c.decode = {step({}, 4, 32, 48), step({}, 4, 64, 56), step({}, 8, 32, 96), step({}, 8, 64, 112)};
  c.mixed = {step({{8, 0}}, 0, 0, 88), step({{8, 32}}, 0, 0, 96), step({{8, 0}}, 8, 32, 176),
             step({{8, 32}}, 8, 32, 192)};
  c.recorded = {step({{8, 0}}, 0, 0, 80), step({{8, 0}}, 0, 0, 88)};
  c.recorded[1].time = {81, 88, 94};
  c.recorded[1].records = true;
  c.pieces = {{"forward", 16, 36, median(32)}, {"forward", 16, 136, median(40)}, {"backward", 16, 136, median(80)},
              {"rebuild", 16, 0, median(8)},   {"head", 16, 0, median(16)},      {"optimizer", 1, 0, median(4)}};
  // 1, 0.5 and 1.25 GB/s (of both directions together) behind 5, 2 and 1.4 us.
  c.links = {{"h2d", 1000, median(6)}, {"d2h", 1000, median(4)},  {"duplex", 1000, median(3)},
             {"h2d", 2000, median(7)}, {"d2h", 2000, median(6)},  {"duplex", 2000, median(4.6)},
             {"h2d", 4000, median(9)}, {"d2h", 4000, median(10)}, {"duplex", 4000, median(7.8)}};
  c.host = median(12.5);
  c.kernel_slowdown = 1.5;
  c.training_cold_start = median(70);
  // One cold step behind training; half as cold behind a millisecond's idleness, a quarter behind 256 tokens.
  const auto cold = [](ColdCause cause, double amount, double us) {
    return ColdCase{cause, amount, {median(us), {0, 0, 0}}};
  };
  c.cold = {cold(ColdCause::kTraining, 0, 40), cold(ColdCause::kTraining, 256, 10), cold(ColdCause::kPrompt, 32, 40),
            cold(ColdCause::kIdle, 1000, 20)};
  c.token_tile = 128;
  c.speed = {0.5, 3};
  return c;
}

class CalibrationWriter : public ::testing::Test {
 protected:
  void write(const Calibration& calibration) {
    ResultDirectory files(folder_.path());
    write_calibration(files, calibration, model_,
                      {.device = "CPU, f32",
                       .model = "tiny",
                       .training = "full",
                       .tensor_parallel = 2,
                       .cuda_graphs = true,
                       .rounds = 7});
  }
  std::string text(const std::string& name) const {
    std::ifstream file(folder_.path() / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TemporaryFolder folder_;
  const ModelShape model_ = load_model("tiny");  // of four layers
};

TEST_F(CalibrationWriter, TablesHoldWhatAnOperationAddsToARun) {
  write(made_up());
  EXPECT_EQ(text("dense.csv"), "layer,tokens,time_us\nlayer,4,12.5000\nlayer,8,25.0000\nlayer,16,50.0000\n");
  EXPECT_EQ(text("per_sequence.csv"), "layer,sequences,time_us\nhead,1,10.0000\nhead,4,20.0000\n");
  EXPECT_EQ(text("attention.csv"),
            "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n"
            "0,0,4,32,2.5000\n0,0,4,64,5.0000\n0,0,8,32,5.0000\n0,0,8,64,10.0000\n"
            "8,0,0,0,2.5000\n8,32,0,0,5.0000\n8,0,8,32,5.0000\n8,32,8,32,10.0000\n");
  EXPECT_EQ(text("training.csv"),
            "kind,tokens,attended_keys,time_us,p10_us,p90_us\n"
            "forward,16,36,40.0000,31.0000,34.0000\nforward,16,136,50.0000,39.0000,42.0000\n"
            "backward,16,136,100.0000,79.0000,82.0000\nrebuild,16,0,10.0000,7.0000,10.0000\n"
            "head,16,0,20.0000,15.0000,18.0000\noptimizer,1,0,5.0000,3.0000,6.0000\n"
            "recording,8,0,10.0000,2.0000,12.0000\n");
}

TEST_F(CalibrationWriter, TheHostIsToldByTheKeysOfHardware) {
  write(made_up());
  const std::string host = text("host.yaml");
  EXPECT_EQ(host.substr(host.find('\n') + 1),
            "step_overhead: 12.500 us\nlink_h2d_bandwidth: 1.0000 GB/s\nlink_d2h_bandwidth: 0.5000 GB/s\n"
            "link_duplex_bandwidth: 1.2500 GB/s\nlink_latency: 5.000 us\ncopy_slowdown: 1.5000\n"
            "training_cold_start: 70.000 us\nserving_cold_start: 40.000 us\ncold_start_steps: 1.00\n"
            // The fit tries limits 5 % apart, from the least amount on: 256 * 1.05^28, 1000 * 1.05^14.
            "cold_piece_tokens: 1004\ncold_prompt_tokens: 32\ncold_idle: 1980 us\ntoken_tile: 128\n");
}

// Where times of copies fall with their size there is no slope: the largest as a whole, 4,000 bytes in 4 us.
TEST_F(CalibrationWriter, ALinkThatWasDisturbedIsNoFasterThanItsLargestCopy) {
  Calibration c = made_up();
  c.links[0].time = median(9);
  c.links[3].time = median(8);
  c.links[6].time = median(4);
  write(c);
  EXPECT_THAT(text("host.yaml"), HasSubstr("link_h2d_bandwidth: 1.0000 GB/s\n"));
  EXPECT_THAT(text("host.yaml"), HasSubstr("link_latency: 2.000 us\n"));
}

// Every step as measured: what disturbs all of them is not in it.
TEST_F(CalibrationWriter, WhatWasMeasuredIsKept) {
  write(made_up());
  EXPECT_THAT(text("steps.csv"), HasSubstr("\nbase,8,8+0 0x0,0,0,80.0000,79.0000,82.0000\n"));
  EXPECT_THAT(text("steps.csv"), HasSubstr("\nhead,4,4x1,1,0,46.0000,45.0000,48.0000\n"));
  EXPECT_THAT(text("steps.csv"), HasSubstr("\nrecorded,8,8+0 0x0,0,1,88.0000,81.0000,94.0000\n"));
  EXPECT_EQ(text("cold.csv"),
            "behind,amount,step,excess_us,p10_us,p90_us\n"
            "training_tokens,0,1,40.0000,39.0000,42.0000\ntraining_tokens,0,2,0.0000,0.0000,0.0000\n"
            "training_tokens,256,1,10.0000,9.0000,12.0000\ntraining_tokens,256,2,0.0000,0.0000,0.0000\n"
            "prompt_tokens,32,1,40.0000,39.0000,42.0000\nprompt_tokens,32,2,0.0000,0.0000,0.0000\n"
            "idle_us,1000,1,20.0000,19.0000,22.0000\nidle_us,1000,2,0.0000,0.0000,0.0000\n");
  EXPECT_THAT(text("link.csv"), HasSubstr("\nduplex,2000,4.6000,3.6000,6.6000\n"));
}

TEST_F(CalibrationWriter, ProvenanceIsReadAgain) {
  write(made_up());
  EXPECT_THAT(text("meta.yaml"), HasSubstr("device: \"CPU, f32\"\nmodel: tiny\ntensor_parallel: 2\nparameters: "));
  EXPECT_THAT(text("meta.yaml"), HasSubstr("\ntraining: full\ncuda_graphs: true\n"));
  EXPECT_THAT(text("meta.yaml"), HasSubstr("\nrounds: 7\ndisturbance: 1.2500\n"));
  const std::optional<CalibratedWith> with = calibrated_with(folder_.path());
  ASSERT_TRUE(with && with->speed);
  EXPECT_TRUE(with->cuda_graphs);
  EXPECT_EQ(with->speed->sensitivity, 0.5);
  EXPECT_EQ(with->speed->level, 3);
  Calibration unknown = made_up();
  unknown.speed = {};
  write(unknown);
  EXPECT_FALSE(calibrated_with(folder_.path())->speed);
}

// A prompt of eight tokens: 100 us and 10 us of attention and of head. Four requests of 64 keys: 50 us, 20 us, 20 us.
// Forward takes 0.1 us a key: between those of 36 and 136 keys, which take 40 and 50 us, one of 86 takes 45.
TEST_F(CalibrationWriter, HeldOutOnesArePricedByTheProfile) {
  Calibration c = made_up();
  c.held_out = {step({{8, 0}}, 0, 0, 96), step({}, 4, 64, 80)};
  c.held_out_pieces = {{{"forward", 16, 86, median(36)}, 99}, {{"backward", 16, 136, median(64)}, 88}};
  write(c);
  EXPECT_EQ(text("held_out.csv"),
            "kind,tokens,attended_keys,first_us,time_us,p10_us,p90_us\n"
            "forward,16,86,99.0000,36.0000,35.0000,38.0000\nbackward,16,136,88.0000,64.0000,63.0000,66.0000\n");
  const std::vector<HeldOut> rows = check_calibration(folder_.path(), c, model_);
  ASSERT_EQ(rows.size(), 4U);
  const auto expect = [](const HeldOut& row, const char* shape, double measured_us, double priced_us) {
    EXPECT_EQ(row.shape, shape);
    EXPECT_NEAR(row.measured_us, measured_us, 1e-9) << shape;
    EXPECT_NEAR(row.priced_us, priced_us, 2e-3) << shape << ": in whole nanoseconds";
  };
  expect(rows[0], "8+0 0x0", 120, 120);
  expect(rows[1], "4x64", 100, 90);
  expect(rows[2], "forward 16", 45, 45);
  expect(rows[3], "backward 16", 80, 100);
  EXPECT_NEAR(rows[1].error(), -0.1, 1e-4) << "priced too low";
  EXPECT_FALSE(rows[0].first_us);
  EXPECT_EQ(rows[3].first_us, 88);
}

}  // namespace
}  // namespace alchemist

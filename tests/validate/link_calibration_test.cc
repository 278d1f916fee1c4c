// The threads and the memory with which the link is measured, over scripted kernels.
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

#include "tests/validate/scripted_model.h"
#include "tests/validate/support.h"
#include "validate/calibrate_link.h"

namespace alchemist {
namespace {

struct CalibrateLink : ::testing::Test {
  CalibrateLink() {
    config.step_tokens = 32;
    config.step_sequences = 4;
    config.longest_context = 64;
    config.micro_batch_tokens = 32;
    config.rounds = 1;
  }

  CalibrationConfig config;
  testing::ScriptedModel model{small_options<float>(TrainingMethod::lora).shape, 16};
};

// What the model has in use is none of the memory that copies write, be it beside a step or not.
TEST_F(CalibrateLink, CopiesLeaveTheArenaAlone) {
  const StepBench steps(model, config);
  const std::byte* const begin = steps.arena().base;
  const std::byte* const end = begin + steps.arena().page_bytes * steps.pages();
  Calibration result;
  measure_link(model, steps, config, result);
  ASSERT_GT(model.link().to_device, 64);
  constexpr std::ptrdiff_t kNoKey = 64;  // the stamp of a token has eight bytes
  const std::byte copied{1};
  EXPECT_EQ(std::search_n(begin, end, kNoKey, copied), end);
}

TEST_F(CalibrateLink, TellsWhatWentWrongOnItsThreads) {
  const StepBench steps(model, config);
  Calibration result;
  model.before_call = [](std::size_t) { throw std::runtime_error("the device is lost"); };
  EXPECT_THROW(measure_link(model, steps, config, result), std::runtime_error);
  model.before_call = nullptr;
  model.link().before_copy = [](CopyDirection) { throw std::runtime_error("the link is lost"); };
  EXPECT_THROW(measure_link(model, steps, config, result), std::runtime_error);
}

}  // namespace
}  // namespace alchemist

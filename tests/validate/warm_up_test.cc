#include "validate/warm_up.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "tests/validate/support.h"

namespace alchemist {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

std::int64_t tokens_of(const StepCase& step) {
  std::int64_t tokens = step.decodes;
  for (const PrefillChunk& chunk : step.chunks) tokens += chunk.tokens;
  return tokens;
}

// With tiles of 16: decode steps of each size, and a layer of each multiple of 16.
TEST(WarmUp, LeavesNoSizeOut) {
  DecoderOptions options = small_options<float>(TrainingMethod::lora);
  options.limits.step_tokens = 60;
  options.limits.micro_batch_tokens = 50;
  const WarmUp plain = warm_up_of(options, 1), tiles = warm_up_of(options, 16);
  EXPECT_THAT(plain.layer_tokens, IsEmpty());
  EXPECT_THAT(tiles.layer_tokens, ElementsAre(16, 32, 48));
  std::set<std::int32_t> decodes;
  for (const StepCase& step : tiles.steps) {
    if (step.chunks.empty()) decodes.insert(step.decodes);
  }
  EXPECT_THAT(decodes, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  for (const WarmUp* all : {&plain, &tiles}) {
    std::int64_t most = 0;
    bool mixed = false;
    for (const StepCase& step : all->steps) {
      most = std::max(most, tokens_of(step));
      mixed = mixed || (step.decodes > 0 && !step.chunks.empty());
    }
    EXPECT_EQ(most, 60);
    EXPECT_TRUE(mixed);
    EXPECT_EQ(all->micro_batch_tokens, 50);
  }
  options.train = false;
  const WarmUp serving = warm_up_of(options, 16);
  EXPECT_EQ(serving.steps.size(), tiles.steps.size());
  EXPECT_EQ(serving.micro_batch_tokens, 0);
  EXPECT_THAT(serving.layer_tokens, IsEmpty());
}

TEST(WarmUp, ServesAndTrainsAndLeavesTheModelAsItWas) {
  for (const TrainingMethod method : {TrainingMethod::lora, TrainingMethod::full}) {
    for (const std::int64_t tile : {1, 16, 1000}) {
      TestDecoder<float> model(small_options<float>(method));
      const std::vector<double> before = model->trained_parameters();
      warm_up(*model, tile);
      EXPECT_EQ(model->trained_parameters(), before);
      EXPECT_EQ(model->version(), WeightVersion());
      EXPECT_THAT(model->gradients(), Each(0.0));
    }
  }
}

TEST(WarmUp, KeepsToTheLimitsOfAModelThatOnlyServes) {
  for (const std::int64_t most : {1, 2, 8}) {
    DecoderOptions options = small_options<float>(TrainingMethod::lora);
    options.train = false;
    options.limits.step_sequences = options.limits.step_tokens = most;
    const auto device = cpu::make_device<float>(std::int64_t{1} << 30);
    const auto model = make_decoder(*device, options);
    EXPECT_NO_THROW(warm_up(*model, 16)) << most;
  }
}

}  // namespace
}  // namespace alchemist

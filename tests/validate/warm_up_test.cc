#include "validate/warm_up.h"

#include <gmock/gmock.h>

#include "tests/validate/support.h"

namespace alchemist {
namespace {

using testing::Each;

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

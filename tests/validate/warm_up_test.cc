#include "validate/warm_up.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "tests/validate/support.h"

namespace alchemist {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

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

// What is left of a piece of 50 or 54 tokens when whole tiles are done, and the least that has a prompt and an answer.
TEST(WarmUp, RunsTheRestsOfPiecesToo) {
  DecoderOptions options = small_options<float>(TrainingMethod::lora);
  options.limits.micro_batch_tokens = 50;
  EXPECT_THAT(warm_up_of(options, 16, {1, 2}).layer_tokens, ElementsAre(2, 17, 18, 16, 33, 34, 32, 49, 50, 48));
}

struct Lengths {
  std::int32_t prompt, output;
};

// A second one comes when the first is answered.
ExpectedRequests expected_of(std::vector<Lengths> lengths) {
  class Users final : public WorkloadSource {
   public:
    explicit Users(std::vector<Lengths> lengths) : lengths_(std::move(lengths)) {}
    std::optional<Time> peek() const override {
      return answered_ && at_ < lengths_.size() ? std::optional(Time()) : std::nullopt;
    }
    WorkloadRequest next() override {
      answered_ = false;
      WorkloadRequest request;
      request.prompt_tokens = lengths_[at_].prompt;
      request.output_tokens = lengths_[at_++].output;
      return request;
    }
    void on_finished(SessionId, std::int32_t, Time) override { answered_ = true; }
    bool exhausted() const override { return at_ == lengths_.size(); }
    std::optional<std::int64_t> total_requests() const override { return std::nullopt; }

   private:
    std::vector<Lengths> lengths_;
    std::size_t at_ = 0;
    bool answered_ = true;
  };
  Users users(std::move(lengths));
  return expected_requests(users, 128, 1000);
}

// Of 300 + 20 tokens two samples are five tiles, one is two and a half. Decodes attend to 301 to 319 keys.
TEST(WarmUp, ExpectsWhatTheWorkloadHolds) {
  const ExpectedRequests alike = expected_of({{300, 20}, {300, 20}, {300, 20}});
  EXPECT_EQ(alike.requests, 3);
  EXPECT_THAT(alike.key_limits, ElementsAre(512));
  EXPECT_THAT(alike.rests, ElementsAre(64));
  EXPECT_THAT(expected_of({{500, 600}, {1024, 2}}).key_limits, ElementsAre(2048, 1024, 512));
  const ExpectedRequests odd = expected_of({{100, 1}});
  EXPECT_THAT(odd.rests, IsEmpty()) << "too many";
  EXPECT_THAT(odd.key_limits, IsEmpty()) << "nothing is decoded";
}

TEST(WarmUp, DecodesAsManyAsThereCanBe) {
  const DecoderOptions options = small_options<float>(TrainingMethod::lora);  // of 8 requests at most
  ExpectedRequests expected;
  expected.requests = 100;
  expected.key_limits = {256, 1 << 20};
  std::vector<StepCase> steps = decodes_of(options, expected);
  ASSERT_EQ(steps.size(), 16U);
  EXPECT_EQ(steps[7].decodes, 8);
  EXPECT_EQ(steps[8].decode_context, options.shape.max_position);
  expected.requests = 3;
  EXPECT_EQ(decodes_of(options, expected).size(), 6U);
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

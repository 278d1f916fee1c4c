// Adapters of old records in the backward of what was recorded under them.
#include <utility>

#include "sim/base/check.h"
#include "tests/validate/restored_world.h"

namespace alchemist {
namespace {

// A copy of adapters in device memory, and its values.
struct Copy {
  explicit Copy(TestDecoder<double>& model)
      : memory(model.device(), model->trained_bytes()), values(model->trained_parameters()) {}
  // With `step` added to parameter i of them.
  void write(TestDecoder<double>& model, std::size_t i = 0, double step = 0) {
    const std::vector<double> own = model->trained_parameters();
    std::vector<double> moved = values;
    moved[i] += step;
    model->set_trained_parameters(moved);
    model->copy_trained(memory.data());
    model->set_trained_parameters(own);
  }
  DeviceArray<std::byte> memory;
  std::vector<double> values;
};

void move_all(TestDecoder<double>& model, std::uint64_t seed) {
  RandomStream random(seed, "movement");
  std::vector<double> parameters = model->trained_parameters();
  for (double& value : parameters) value += 0.1 * random.normal();
  model->set_trained_parameters(parameters);
}

// The loss of three sets of adapters, each over rows of its own, is moved by all three: the gradient is the sum of the
// three partial ones. Against central differences, as in decoder_gradient_test.cc.
void expect_gradient_of_three_sets(const DecoderOptions& options, RecordKind kind) {
  TestDecoder<double> model(options);
  const Samples samples({{3, 4}, {1, 2}, {6, 3}}, options.shape.vocabulary);
  Copy first(model);
  move_all(model, 1);
  Copy second(model);
  move_all(model, 2);
  // Whole samples, parts of them, two behind each other, and one that goes on in the next sample.
  const std::vector<RowsUnder> under = {{{0, 3}, first.memory.data()},
                                        {{3, 5}, second.memory.data()},
                                        {{6, 9}, first.memory.data()},
                                        {{13, 15}, second.memory.data()}};
  const auto train = [&] {
    model->zero_gradients();
    model->begin_micro_batch(samples.list, false, under);
    const LayerPieces pieces = run_forward(model, samples.whole(), kind);
    return run_backward(model, pieces, samples.rows).loss;
  };
  first.write(model);
  second.write(model);
  train();
  const std::vector<double> gradient = model->gradients();
  const std::vector<double> own = model->trained_parameters();
  double largest = 0;
  for (const double g : gradient) largest = std::max(largest, std::abs(g));
  ASSERT_GT(largest, 1e-3);
  const auto loss_at = [&](std::size_t i, double step) {
    first.write(model, i, step);
    second.write(model, i, step);
    std::vector<double> moved = own;
    moved[i] += step;
    model->set_trained_parameters(moved);
    const double loss = train();
    model->set_trained_parameters(own);
    return loss;
  };
  constexpr double kStep = 1e-5;
  for (std::size_t i = 0; i < own.size(); i += 29) {
    const double numeric = (loss_at(i, kStep) - loss_at(i, -kStep)) / (2 * kStep);
    EXPECT_NEAR(gradient[i], numeric, 1e-8 * std::max(1.0, largest)) << "parameter " << i;
  }
}

TEST(LateGradient, IsTheSumOverTheSetsOfAdapters) {
  for (const bool head_norms : {false, true}) {
    for (const RecordKind kind : {RecordKind::kMinimal, RecordKind::kLean, RecordKind::kInput}) {
      expect_gradient_of_three_sets(small_options<double>(TrainingMethod::lora, head_norms), kind);
    }
  }
}

TEST(LateGradient, OfAdaptersOnSomeModules) {
  DecoderOptions options = small_options<double>(TrainingMethod::lora);
  options.training.lora_modules = {LinearModule::kQ, LinearModule::kV, LinearModule::kUp};
  expect_gradient_of_three_sets(options, RecordKind::kMinimal);
}

// Of the first sample 0 .. 3 are recorded two versions ago and 4 .. 10 one ago, of the second 0 .. 7 one ago.
class AgedRecords : public RestoredBatchTest {
 protected:
  AgedRecords() : weights_(*model_, 2) {
    begin_again();
    record(0, texts_[0], 0, {4, 7}, [this] { next_version(); });
    record(1, texts_[1], 0, {9});
    next_version();
    kept_ = &weights_;
  }
  // With memory for other records.
  void begin_again() {
    for (const std::uint32_t id : {0, 1}) records_.forget(RecordId(id));
    next_page_ = 0;
  }
  void next_version() {
    weights_.keep();
    model_->zero_gradients();
    model_->optimizer_step();
    move_all(model_, model_->version().value());
  }
  static std::vector<RecordedTokens> recorded(bool on_host) {
    return {{0, 0, 11, RecordId(0), 0, false, on_host}, {1, 0, 8, RecordId(1), 0, false, on_host}};
  }
  // By the model's own calls: all rows fresh, each under its weights.
  std::vector<double> expected() {
    std::vector<TrainingSample> samples;
    for (std::size_t i = 0; i < 2; ++i) samples.push_back({texts_[i], samples_[i].prompt_tokens, 1.0 / 7, 0});
    const std::byte *oldest = weights_.find(WeightVersion(0)), *old = weights_.find(WeightVersion(1));
    const std::vector<RowsUnder> under = {{{0, 4}, oldest}, {{4, 11}, old}, {{17, 25}, old}};
    model_->zero_gradients();
    model_->begin_micro_batch(samples, false, under);
    run_backward(model_, run_forward(model_, std::vector<RowRange>{{0, 17}, {17, 29}}, RecordKind::kMinimal), 29);
    return model_->gradients();
  }
  KeptWeights weights_;
};

INSTANTIATE_TEST_SUITE_P(HeadNorms, AgedRecords, ::testing::Bool());

TEST_P(AgedRecords, GiveTheGradientOfTheirOwnWeightsWhateverWayTheyCome) {
  const std::vector<double> late = expected();
  for (const std::int64_t part : {100, 5, 1})
    EXPECT_LT(difference(gradient(recorded(false), {}, 0, part), late), kSummation);
  EXPECT_LT(difference(gradient(recorded(false), {}, 0, 5, 1), late), kSummation) << "fresh activations leave";
  move_to_host(0);
  move_to_host(1);
  for (const double share : {1.0, 0.4, 0.0}) {
    EXPECT_LT(difference(gradient(recorded(true), plan({share, share, share}), 0), late), kSummation) << share;
  }
  for (const std::int32_t meeting : {1, 2, 3}) {
    EXPECT_LT(difference(gradient(recorded(true), plan({1, 1, 0.5}), meeting, 6), late), kSummation) << meeting;
  }
  StepOfBatch stopped;
  stopped.stops_above = {2, 1};
  EXPECT_LT(difference(gradient(recorded(true), plan({1, 1, 0.5}), 1, 100, 3, stopped), late), kSummation);
}

// What it is without the old weights: the gradient of no loss.
TEST_P(AgedRecords, HaveTheWeightsOfNowIfNoOthersAreKept) {
  const std::vector<double> late = expected();
  kept_ = nullptr;
  EXPECT_GT(difference(gradient(recorded(false), {}, 0), late), 0.01);
}

// With all of a sample recorded under the same weights, answers included, its late gradient is that of those weights.
TEST_P(AgedRecords, OfWholeSamplesGiveTheGradientOfThen) {
  begin_again();
  record(0, texts_[0], 0, {6, 7});
  record(1, texts_[1], 0, {9});
  record_decoded(2, texts_[0], 13, 3, 4, true);
  record_decoded(3, texts_[1], 9, 2, 3, false);
  const std::vector<double> then = gradient({}, {}, 0);
  next_version();
  EXPECT_GT(difference(gradient({}, {}, 0), then), 0.01);
  const std::vector<RecordedTokens> all = {
      {0, 0, 13, RecordId(0), 0, false, false}, {0, 13, 3, RecordId(2), 0, true, false},
      {0, 16, 1, RecordId(2), 2, true, false},  {1, 0, 9, RecordId(1), 0, false, false},
      {1, 9, 2, RecordId(3), 0, false, false},  {1, 11, 1, RecordId(3), 1, false, false}};
  EXPECT_LT(difference(gradient(all, {}, 0), then), kSummation);
  kept_ = nullptr;
  EXPECT_GT(difference(gradient(all, {}, 0), then), 0.01);
}

TEST(KeptWeights, HoldAsManyVersionsAsTheyHaveRoomFor) {
  TestDecoder<double> model(small_options<double>(TrainingMethod::lora));
  KeptWeights kept(*model, 2);
  std::vector<std::vector<double>> versions;
  EXPECT_EQ(kept.find(WeightVersion(0)), nullptr);
  for (std::uint32_t version = 0; version < 5; ++version) {
    versions.push_back(model->trained_parameters());
    kept.keep();
    model->optimizer_step();
    move_all(model, version);
    EXPECT_EQ(kept.find(model->version()), nullptr);
    for (std::uint32_t old = version > 0 ? version - 1 : 0; old <= version; ++old) {
      const auto* values = reinterpret_cast<const double*>(kept.find(WeightVersion(old)));
      EXPECT_TRUE(std::equal(versions[old].begin(), versions[old].end(), values)) << old;
    }
    if (version < 2) continue;
    EXPECT_THROW(kept.find(WeightVersion(version - 2)), InternalError);
  }
}

TEST(RecordTable, KnowsUnderWhichWeightsTokensWereComputed) {
  TestDecoder<double> model(small_options<double>(TrainingMethod::lora));
  const RecordLayout layout(model->options().shape);
  HostPool pool(model.device(), model->page_bytes(), 0);
  RecordTable records(layout, 3, {model.arena(), model->page_bytes()}, pool);
  records.compute(RecordId(1), 0, WeightVersion(1));  // of none
  std::vector<BlockId> pages;
  for (std::uint32_t page = 0; page < 60; ++page) pages.emplace_back(page);
  const auto begin = [&] { records.extend({RecordId(1), false, 0, pages}, 9); };
  const auto computed = [&] {
    std::vector<std::pair<std::int32_t, std::uint32_t>> result;
    for (const auto& part : records.entry(RecordId(1)).computed)
      result.push_back({part.first_token, part.under.value()});
    return result;
  };
  using Parts = std::vector<std::pair<std::int32_t, std::uint32_t>>;
  begin();
  for (const std::int32_t token : {0, 2, 5}) records.compute(RecordId(1), token, WeightVersion(token < 5 ? 3 : 4));
  EXPECT_EQ(computed(), (Parts{{0, 3}, {5, 4}}));
  begin();  // another record of this id
  EXPECT_EQ(computed(), Parts{});
  records.compute(RecordId(1), 2, WeightVersion(5));  // by a step that was planned for the one before
  records.compute(RecordId(1), 0, WeightVersion(6));
  EXPECT_EQ(computed(), (Parts{{0, 6}}));
}

}  // namespace
}  // namespace alchemist

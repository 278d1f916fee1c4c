#include "validate/learning_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "tests/validate/support.h"

namespace alchemist {
namespace {

constexpr int kSteps = 12;

LearningOptions small_learning(RecordedRows recorded) {
  return {.steps = kSteps,
          .every = 5,
          .held_out = 2,
          .recorded = recorded,
          .batch = {.samples = 2, .prompt_tokens = 12, .answer_tokens = 10, .alphabet = 8}};
}

// A new model and its device.
struct Model {
  std::unique_ptr<Device<float>> device = cpu::make_device<float>(std::int64_t{1} << 30);
  std::unique_ptr<Decoder> decoder;

  explicit Model(double learning_rate, TrainingMethod method = TrainingMethod::full) {
    DecoderOptions options = small_options<float>(method);
    options.optimizer.learning_rate = learning_rate;
    decoder = make_decoder(*device, options);
  }
};

std::vector<LearningPoint> curve(RecordedRows recorded, std::int32_t lag, double learning_rate = 3e-3) {
  Model model(learning_rate);
  return learning_curve(*model.decoder, small_learning(recorded), std::vector{lag});
}

std::vector<std::int32_t> steps_of(const std::vector<LearningPoint>& points) {
  std::vector<std::int32_t> steps;
  for (const LearningPoint& point : points) steps.push_back(point.step);
  return steps;
}

double distance(const std::vector<LearningPoint>& a, const std::vector<LearningPoint>& b) {
  EXPECT_EQ(steps_of(a), steps_of(b));
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i].loss - b[i].loss));
  return largest;
}

// Training of whole samples by the decoder's verbs alone: nothing is recorded ahead, nothing computed in parts.
std::vector<double> trained_by_whole_forwards() {
  Model model(3e-3);
  Decoder& decoder = *model.decoder;
  const LearningOptions options = small_learning(RecordedRows::all);
  AgedTraining training(decoder, options.batch, RecordedRows::all);
  const RowRecords activations = training.make_records();
  for (int step = 0; step < kSteps; ++step) {
    const SampleBatch batch = training.batch(static_cast<std::uint64_t>(step));
    decoder.begin_micro_batch(batch.samples);
    for (int layer = 0; layer < 3; ++layer) decoder.forward_layer({layer, batch.whole, {}, activations.layer(layer)});
    decoder.head({{0, options.batch.rows()}, {}});
    for (int layer = 2; layer >= 0; --layer) {
      decoder.backward_layer({layer, {0, options.batch.rows()}, activations.layer(layer)});
    }
    decoder.optimizer_step();
  }
  return decoder.trained_parameters();
}

// The same by keeping old weights in place of old records: a batch is recorded when its turn has come, under the
// weights of `lag` steps before; `backward_too`: under these is its backward as well.
std::vector<double> trained_by_old_weights(RecordedRows recorded, int lag, bool backward_too = false,
                                           TrainingMethod method = TrainingMethod::full) {
  Model model(3e-3, method);
  Decoder& decoder = *model.decoder;
  AgedTraining training(decoder, small_learning(recorded).batch, recorded);
  const RowRecords records = training.make_records();
  std::vector<std::vector<double>> weights{decoder.trained_parameters()};
  for (int step = 0; step < kSteps; ++step) {
    const SampleBatch batch = training.batch(static_cast<std::uint64_t>(step));
    decoder.set_trained_parameters(weights[static_cast<std::size_t>(std::max(0, step - lag))]);
    training.record(batch, records);
    if (!backward_too) decoder.set_trained_parameters(weights.back());
    training.gradient(batch, records);
    if (backward_too) decoder.set_trained_parameters(weights.back());
    decoder.optimizer_step();
    weights.push_back(decoder.trained_parameters());
  }
  return weights.back();
}

std::vector<double> trained_by_curve(RecordedRows recorded, int lag, bool recorded_backward = false,
                                     TrainingMethod method = TrainingMethod::full) {
  Model model(3e-3, method);
  LearningOptions options = small_learning(recorded);
  options.recorded_backward = recorded_backward;
  learning_curve(*model.decoder, options, std::vector{lag});
  return model.decoder->trained_parameters();
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

// AdamW divides by the size of the gradient, so that where that is next to nothing roundings show.
TEST(LearningCurve, WithoutAgeIsTrainingByAFreshForward) {
  const std::vector<double> expected = trained_by_whole_forwards();
  EXPECT_LT(distance(trained_by_curve(RecordedRows::all, 0), expected), 1e-5);
  EXPECT_LT(distance(trained_by_curve(RecordedRows::prompts, 0), expected), 1e-3);
  EXPECT_GT(distance(trained_by_curve(RecordedRows::all, 1), expected), 3e-3);
}

TEST(LearningCurve, RecordsAreExactlyAsOldAsTheyAreSaidToBe) {
  for (const RecordedRows recorded : {RecordedRows::prompts, RecordedRows::all}) {
    for (const int lag : {1, 4, 40}) {
      EXPECT_EQ(trained_by_curve(recorded, lag), trained_by_old_weights(recorded, lag)) << lag;
    }
  }
}

TEST(LearningCurve, WithTheWeightsOfTheRecordBackwardGivesLateGradients) {
  for (const TrainingMethod method : {TrainingMethod::lora, TrainingMethod::full}) {
    for (const int lag : {0, 1, 4, 40}) {
      EXPECT_EQ(trained_by_curve(RecordedRows::all, lag, true, method),
                trained_by_old_weights(RecordedRows::all, lag, true, method))
          << lag;
    }
    EXPECT_EQ(trained_by_curve(RecordedRows::prompts, 0, true, method),
              trained_by_curve(RecordedRows::prompts, 0, false, method));
    EXPECT_NE(trained_by_curve(RecordedRows::prompts, 4, true, method),
              trained_by_curve(RecordedRows::prompts, 4, false, method));
  }
}

// Of a batch recorded under `weights` moved by `by` along `direction`, and run under those of now moved by as much.
double loss_of_two_weights(TestDecoder<double>& model, AgedTraining& training, const std::vector<double>& recorded,
                           const std::vector<double>& now, const std::vector<double>& direction, double by) {
  const auto moved = [&](std::vector<double> weights) {
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] += by * direction[i];
    return weights;
  };
  const SampleBatch batch = training.batch(0);
  const RowRecords records = training.make_records();
  model->set_trained_parameters(moved(recorded));
  training.record(batch, records);
  model->set_trained_parameters(moved(now));
  return training.gradient(batch, records).loss;
}

// Of each record that waits the weights that it was made under, and no others, which may be larger than all records.
TEST(LearningCurve, KeepsTheWeightsOfWaitingRecordsAlone) {
  const auto fits = [](std::int64_t memory, bool recorded_backward, std::int32_t lag) {
    LearningOptions options = small_learning(RecordedRows::all);
    options.recorded_backward = recorded_backward;
    const auto device = cpu::make_device<float>(memory);
    try {
      const auto decoder = make_decoder(*device, small_options<float>(TrainingMethod::full));
      learning_curve(*decoder, options, std::vector{lag});
      return true;
    } catch (const ConfigError&) {  // memory is full
      return false;
    }
  };
  const std::int64_t weights = Model(3e-3).decoder->trained_bytes();
  for (const std::int32_t lag : {1, 3}) {
    std::int64_t too_little = 0, enough = std::int64_t{1} << 30;
    while (enough - too_little > weights / 2) {
      const std::int64_t middle = std::midpoint(too_little, enough);
      (fits(middle, false, lag) ? enough : too_little) = middle;
    }
    EXPECT_FALSE(fits(too_little + (lag + 1) * weights, true, lag));
    EXPECT_TRUE(fits(enough + (lag + 1) * weights, true, lag));
  }
}

// The slope of a loss by differences is what the gradient says, although half of the forward is of other weights. With
// the weights of now it is not.
TEST(AgedTraining, GradientUnderTheWeightsOfTheRecordIsThatOfALoss) {
  const DecoderOptions models[] = {small_options<double>(TrainingMethod::lora),
                                   small_options<double>(TrainingMethod::full),
                                   small_options<double>(TrainingMethod::lora, true)};
  for (const DecoderOptions& options : models) {
    SCOPED_TRACE(options.shape.qk_norm);
    TestDecoder<double> model(options);
    AgedTraining training(*model, small_learning(RecordedRows::prompts).batch, RecordedRows::prompts);
    RandomStream random(2, "directions");
    const std::vector<double> recorded = model->trained_parameters();
    std::vector<double> now = recorded, direction(now.size());
    for (double& value : now) value += 0.05 * random.normal();
    for (double& value : direction) value = random.normal();
    DeviceArray<std::byte> copy(model.device(), model->trained_bytes());
    model->copy_trained(copy.data());
    const SampleBatch batch = training.batch(0);
    const RowRecords records = training.make_records();
    training.record(batch, records);
    model->set_trained_parameters(now);
    const auto slope = [&](const std::byte* recorded_under) {
      training.gradient(batch, records, recorded_under);
      const std::vector<double> gradient = model->gradients();
      return std::inner_product(gradient.begin(), gradient.end(), direction.begin(), 0.0);
    };
    const double exact = slope(copy.data()), mixed = slope(nullptr);
    const double step = 1e-5;
    const double difference = (loss_of_two_weights(model, training, recorded, now, direction, step) -
                               loss_of_two_weights(model, training, recorded, now, direction, -step)) /
                              (2 * step);
    EXPECT_NEAR(exact, difference, 1e-6 * std::abs(difference));
    EXPECT_GT(std::abs(mixed - difference), 1e-3 * std::abs(difference));
  }
}

// Fresh answers look at keys of the record through the norm of now, and a backward under another would be no gradient.
TEST(AgedTraining, TrainedNormsOfHeadsAreThoseOfNowWhereAnswersAreFresh) {
  const DecoderOptions options = small_options<double>(TrainingMethod::full, true);
  EXPECT_TRUE(backward_can_be_recorded(options, RecordedRows::all));
  TestDecoder<double> model(options);
  AgedTraining training(*model, small_learning(RecordedRows::prompts).batch, RecordedRows::prompts);
  const SampleBatch batch = training.batch(0);
  const RowRecords records = training.make_records();
  training.record(batch, records);
  DeviceArray<std::byte> copy(model.device(), model->trained_bytes());
  model->copy_trained(copy.data());
  EXPECT_THROW(training.gradient(batch, records, copy.data()), InternalError);
}

// The same by keeping old weights: every sample is recorded when its turn has come, under the weights that its own lag
// says; there are three lags for two samples a step.
std::vector<double> trained_by_old_weights_of_samples(RecordedRows recorded, const std::vector<std::int32_t>& lags,
                                                      bool backward_too) {
  Model model(3e-3, TrainingMethod::lora);
  Decoder& decoder = *model.decoder;
  AgedTraining training(decoder, small_learning(recorded).batch, recorded);
  const RowRecords records = training.make_records();
  std::vector<std::vector<double>> weights{decoder.trained_parameters()};
  for (int step = 0; step < kSteps; ++step) {
    const SampleBatch batch = training.batch(static_cast<std::uint64_t>(step));
    std::vector<DeviceArray<std::byte>> copies;
    std::vector<const std::byte*> under;
    for (std::int32_t sample = 0; sample < 2; ++sample) {
      const std::int32_t lag = lags[static_cast<std::size_t>(2 * step + sample) % lags.size()];
      decoder.set_trained_parameters(weights[static_cast<std::size_t>(std::max(0, step - lag))]);
      training.record(batch, records, std::vector{sample});
      copies.emplace_back(decoder.device(), decoder.trained_bytes());
      decoder.copy_trained(copies.back().data());
      under.push_back(lag > 0 ? copies.back().data() : nullptr);
    }
    decoder.set_trained_parameters(weights.back());
    backward_too ? training.gradient(batch, records, under) : training.gradient(batch, records);
    decoder.optimizer_step();
    weights.push_back(decoder.trained_parameters());
  }
  return weights.back();
}

TEST(LearningCurve, SamplesAreEachAsOldAsTheyAreSaidToBe) {
  const std::vector<std::int32_t> lags = {0, 3, 7};
  for (const RecordedRows recorded : {RecordedRows::prompts, RecordedRows::all}) {
    for (const bool backward_too : {false, true}) {
      Model model(3e-3, TrainingMethod::lora);
      LearningOptions options = small_learning(recorded);
      options.recorded_backward = backward_too;
      learning_curve(*model.decoder, options, lags);
      // Samples that are recorded at once share products there, which sum in another order.
      EXPECT_LT(distance(model.decoder->trained_parameters(),
                         trained_by_old_weights_of_samples(recorded, lags, backward_too)),
                1e-4);
      EXPECT_GT(distance(trained_by_curve(recorded, 3, backward_too, TrainingMethod::lora),
                         trained_by_old_weights_of_samples(recorded, lags, backward_too)),
                1e-3);
    }
  }
}

// A record of every batch that was asked for would be more than any memory holds.
TEST(LearningCurve, NothingIsRecordedThatIsNeverTrained) {
  const std::int32_t largest = std::numeric_limits<std::int32_t>::max();
  EXPECT_EQ(trained_by_curve(RecordedRows::all, largest), trained_by_curve(RecordedRows::all, kSteps));
}

TEST(LearningCurve, HasPointsFromTheStartToTheEndAndComesDown) {
  const std::vector<LearningPoint> points = curve(RecordedRows::prompts, 0);
  EXPECT_EQ(steps_of(points), (std::vector<std::int32_t>{0, 5, 10, 12}));
  EXPECT_NEAR(points[0].loss, std::log(37), 0.1);  // random weights know nothing of a vocabulary of 37
  EXPECT_LT(points[3].loss, points[0].loss - 0.5);
  EXPECT_LT(distance(points, curve(RecordedRows::all, 0)), 1e-3);
  EXPECT_GT(distance(points, curve(RecordedRows::prompts, 4)), 0);
}

// Nor is a gradient left of them, which training would add to its own.
TEST(LearningCurve, LossIsOfSamplesThatAreNotTrained) {
  const LearningOptions options = small_learning(RecordedRows::prompts);
  Model model(3e-3);
  AgedTraining training(*model.decoder, options.batch, options.recorded);
  const RowRecords scratch = training.make_records();
  const double held_out = curve(options.recorded, 0).front().loss;
  std::vector<double> trained;
  for (std::uint64_t i = 0; i < kSteps; ++i) trained.push_back(training.loss(training.batch(i), scratch));
  for (std::size_t i = 1; i < kSteps; ++i) EXPECT_NE(held_out, (trained[i - 1] + trained[i]) / options.held_out);
  EXPECT_TRUE(std::ranges::all_of(model.decoder->gradients(), [](double each) { return each == 0; }));
}

TEST(LearningCurve, WeightsThatDoNotMoveLearnNothingAtAnyAge) {
  const std::vector<LearningPoint> points = curve(RecordedRows::all, 0, 0);
  EXPECT_EQ(points.back().loss, points.front().loss);
  EXPECT_EQ(distance(points, curve(RecordedRows::all, 3, 0)), 0);
}

TEST(LearningCurve, EndsWhereTrainingDiverges) {
  EXPECT_EQ(steps_of(curve(RecordedRows::prompts, 0, 1e30)), std::vector<std::int32_t>{0});
}

// The curves' samples have other successors: what was learned of the first ones makes the start worse than knowing
// nothing, and nothing is left to learn of which tokens come.
TEST(LearningCurve, PretrainedWeightsKnowOtherSamples) {
  const LearningOptions options = small_learning(RecordedRows::prompts);
  Model teacher(3e-3), learner(3e-3);
  const std::vector<Decoder::NamedTensor> weights = pretrained_weights(*teacher.decoder, options, 60);
  for (const Decoder::NamedTensor& weight : weights) learner.decoder->set_named_weight(weight);
  SampleBatchShape same = options.batch;
  ++same.source;
  AgedTraining training(*learner.decoder, same, options.recorded);
  const double known = training.loss(training.batch(1000), training.make_records());
  const double unknown = learning_curve(*learner.decoder, options, std::vector{0}).front().loss;
  EXPECT_LT(known, std::log(8));
  EXPECT_GT(unknown, known + 0.2);
}

TEST(LearningCurve, FinalLossIsFoundOnTheReference) {
  const std::vector<LearningPoint> reference{{0, 6}, {10, 3}, {20, 2}};
  EXPECT_EQ(steps_to_final_loss(reference, reference), 20);
  EXPECT_EQ(steps_to_final_loss(reference, {{0, 6}, {20, 2.5}}), 15);
  EXPECT_EQ(steps_to_final_loss(reference, {{0, 6}, {20, 7}}), 0);
  EXPECT_EQ(steps_to_final_loss(reference, {{0, 6}, {20, 1.9}}), std::nullopt);
}

}  // namespace
}  // namespace alchemist

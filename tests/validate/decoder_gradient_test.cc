// The gradient of the whole model against central finite differences in double.
#include <algorithm>
#include <cmath>

#include "tests/validate/support.h"

namespace alchemist {
namespace {

// Central differences with h = 1e-5 have an error of about h^2 f''' + 1e-16 / h, 1e-10 here; the model's own rounding
// is below that. A wrong term is of the order of the gradient.
void expect_gradient_of_finite_differences(const DecoderOptions& options, const Samples& samples) {
  TestDecoder<double> model(options);
  train_fresh(model, samples);
  const std::vector<double> gradient = model->gradients();
  std::vector<double> parameters = model->trained_parameters();
  ASSERT_EQ(gradient.size(), parameters.size());
  double largest = 0;
  for (const double g : gradient) largest = std::max(largest, std::abs(g));
  ASSERT_GT(largest, 1e-3);
  const auto loss_at = [&](std::size_t i, double value) {
    const double old = parameters[i];
    parameters[i] = value;
    model->set_trained_parameters(parameters);
    parameters[i] = old;
    return train_fresh(model, samples).loss;
  };
  constexpr double kStep = 1e-5;
  // Every 29th parameter: all tensors are met, whose sizes are no multiples of it.
  for (std::size_t i = 0; i < parameters.size(); i += 29) {
    const double numeric = (loss_at(i, parameters[i] + kStep) - loss_at(i, parameters[i] - kStep)) / (2 * kStep);
    EXPECT_NEAR(gradient[i], numeric, 1e-8 * std::max(1.0, largest)) << "parameter " << i;
  }
}

TEST(DecoderGradient, FullFineTuning) {
  DecoderOptions options = small_options<double>(TrainingMethod::full);
  options.shape.layers = 2;
  expect_gradient_of_finite_differences(options, Samples({{3, 4}, {1, 2}, {6, 1}}, options.shape.vocabulary));
}

TEST(DecoderGradient, FullFineTuningWithBiasAndTiedEmbeddings) {
  DecoderOptions options = small_options<double>(TrainingMethod::full);
  options.shape.layers = 1;
  options.shape.qkv_bias = true;
  options.shape.tied_embeddings = true;
  expect_gradient_of_finite_differences(options, Samples({{3, 4}, {2, 3}}, options.shape.vocabulary));
}

TEST(DecoderGradient, Lora) {
  const DecoderOptions options = small_options<double>(TrainingMethod::lora);
  expect_gradient_of_finite_differences(options, Samples({{3, 4}, {1, 2}, {6, 1}}, options.shape.vocabulary));
}

TEST(DecoderGradient, FullFineTuningWithNormsOfHeads) {
  DecoderOptions options = small_options<double>(TrainingMethod::full, true);
  options.shape.layers = 2;
  expect_gradient_of_finite_differences(options, Samples({{3, 4}, {1, 2}, {6, 1}}, options.shape.vocabulary));
}

// Of each tensor of norms of heads every weight.
TEST(DecoderGradient, WeightsOfNormsOfHeads) {
  DecoderOptions options = small_options<double>(TrainingMethod::full, true);
  options.shape.layers = 2;
  const Samples samples({{3, 4}, {1, 2}, {6, 1}}, options.shape.vocabulary);
  TestDecoder<double> model(options);
  train_fresh(model, samples);
  std::size_t met = 0;
  const std::vector<Decoder::NamedTensor> gradients = model->named_gradients();
  for (const Decoder::NamedTensor& weight : model->named_weights()) {
    if (weight.name.find("_norm.weight") == std::string::npos || weight.name.find("self_attn") == std::string::npos) {
      continue;
    }
    const auto gradient = std::find_if(gradients.begin(), gradients.end(),
                                       [&](const Decoder::NamedTensor& g) { return g.name == weight.name; });
    ASSERT_NE(gradient, gradients.end()) << weight.name;
    ASSERT_EQ(weight.values.size(), 6u);
    for (std::size_t i = 0; i < weight.values.size(); ++i, ++met) {
      const auto loss_at = [&](double value) {
        Decoder::NamedTensor moved = weight;
        moved.values[i] = value;
        model->set_named_weight(moved);
        return train_fresh(model, samples).loss;
      };
      constexpr double kStep = 1e-5;
      const double above = loss_at(weight.values[i] + kStep), below = loss_at(weight.values[i] - kStep);
      EXPECT_NEAR(gradient->values[i], (above - below) / (2 * kStep), 1e-8) << weight.name << " " << i;
    }
    model->set_named_weight(weight);
  }
  EXPECT_EQ(met, 2u * 2 * 6);
}

TEST(DecoderGradient, LoraWithNormsOfHeads) {
  const DecoderOptions options = small_options<double>(TrainingMethod::lora, true);
  expect_gradient_of_finite_differences(options, Samples({{3, 4}, {1, 2}, {6, 1}}, options.shape.vocabulary));
}

TEST(DecoderGradient, LoraOnSomeModules) {
  DecoderOptions options = small_options<double>(TrainingMethod::lora);
  options.training.lora_modules = {LinearModule::kV, LinearModule::kDown};
  expect_gradient_of_finite_differences(options, Samples({{3, 4}, {1, 2}}, options.shape.vocabulary));
}

// Products that two of three modules share.
TEST(DecoderGradient, LoraOnSomeModulesOfAProduct) {
  DecoderOptions options = small_options<double>(TrainingMethod::lora);
  options.training.lora_modules = {LinearModule::kQ, LinearModule::kV, LinearModule::kUp};
  expect_gradient_of_finite_differences(options, Samples({{3, 4}, {1, 2}}, options.shape.vocabulary));
}

TEST(DecoderGradient, PreferencePairs) {
  DecoderOptions options = small_options<double>(TrainingMethod::lora);
  options.training.objective = TrainingObjective::dpo;
  Samples samples({{3, 4}, {3, 2}, {2, 3}, {2, 5}}, options.shape.vocabulary);
  for (std::size_t i = 0; i < samples.list.size(); ++i) {
    samples.list[i].loss_weight = 0.5;
    samples.list[i].reference_logprob = -10.0 - static_cast<double>(i);
  }
  expect_gradient_of_finite_differences(options, samples);
}

}  // namespace
}  // namespace alchemist

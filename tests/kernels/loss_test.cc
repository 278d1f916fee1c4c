#include <numeric>

#include "kernels/adamw.h"
#include "kernels/cross_entropy.h"
#include "kernels/preference_loss.h"
#include "tests/kernels/support.h"

namespace alchemist {
namespace {

// 1500 tokens: more than a chunk of the vocabulary.
TEST(CrossEntropy, IsTheFormulaAndItsGradient) {
  const std::int64_t rows = 2, vocabulary = 1500;
  std::vector<double> logits = random_values<double>(rows * vocabulary, "logits", 3);
  const std::vector<std::int32_t> targets = {1400, 3};
  const std::vector<double> weight = {0.7, -2};
  std::vector<double> loss(2);
  const auto objective = [&] {
    cpu::cross_entropy<double>({logits.data(), targets.data(), nullptr, loss.data(), rows, vocabulary, false});
    return weighted_sum(loss, weight);
  };
  objective();
  for (std::size_t i = 0; i < 2; ++i) {
    long double sum = 0;
    for (std::size_t v = 0; v < 1500; ++v) sum += std::exp(static_cast<long double>(logits[i * 1500 + v]));
    EXPECT_NEAR(loss[i], std::log(sum) - logits[i * 1500 + static_cast<std::size_t>(targets[i])], 1e-12);
  }
  std::vector<double> gradient = logits;
  cpu::cross_entropy<double>({gradient.data(), targets.data(), weight.data(), loss.data(), rows, vocabulary, true});
  expect_gradient(logits, gradient, objective, "d_logits");
}

TEST(CrossEntropy, LargeLogits) {
  std::vector<float> logits = {1e5f, -1e5f}, loss(1);
  const std::vector<std::int32_t> target = {1};
  const std::vector<float> weight = {1};
  cpu::cross_entropy<float>({logits.data(), target.data(), weight.data(), loss.data(), 1, 2, true});
  EXPECT_EQ(loss[0], 2e5f);
  EXPECT_EQ(logits, (std::vector<float>{1, -1}));
}

TEST(Argmax, FirstOfEquals) {
  const std::vector<float> logits = {1, 3, 3, -1, -2, -1};
  std::vector<std::int32_t> tokens(2);
  cpu::argmax<float>({logits.data(), tokens.data(), 2, 3});
  EXPECT_EQ(tokens, (std::vector<std::int32_t>{1, 0}));
}

TEST(Argmax, TheLastMayBeTheLargest) {
  const std::vector<float> logits = {0, 1, 2, 5, 0, 1};
  std::vector<std::int32_t> tokens(2);
  cpu::argmax<float>({logits.data(), tokens.data(), 2, 3});
  EXPECT_EQ(tokens, (std::vector<std::int32_t>{2, 0}));
}

TEST(PreferenceLoss, IsTheFormulaAndItsGradient) {
  const std::vector<std::int32_t> begin = {0, 2, 5, 6, 8};
  std::vector<double> token_loss = random_values<double>(8, "token_loss");
  const std::vector<double> reference = {-1, -2, -0.5, 0.3};
  std::vector<double> loss(2), weight(8);
  const auto objective = [&] {
    cpu::preference_loss<double>(
        {token_loss.data(), begin.data(), reference.data(), loss.data(), weight.data(), 2, 0.4, 0.5});
    return 0.5 * (loss[0] + loss[1]);
  };
  objective();
  const double chosen = -(token_loss[0] + token_loss[1]) + 1,
               rejected = -(token_loss[2] + token_loss[3] + token_loss[4]) + 2;
  EXPECT_NEAR(loss[0], -std::log(1 / (1 + std::exp(-0.4 * (chosen - rejected)))), 1e-14);
  const std::vector<double> gradient = weight;
  expect_gradient(token_loss, gradient, objective, "d_token_loss");
}

// A margin of 1e6 either way: the loss is 0 or the margin, the weights 0 or beta.
TEST(PreferenceLoss, Extremes) {
  const std::vector<std::int32_t> begin = {0, 1, 2, 3, 4};
  const std::vector<float> token_loss = {0, 1e6f, 1e6f, 0}, reference(4, 0.0f);
  std::vector<float> loss(2), weight(4);
  cpu::preference_loss<float>({token_loss.data(), begin.data(), reference.data(), loss.data(), weight.data(), 2, 1, 1});
  EXPECT_EQ(loss, (std::vector<float>{0, 1e6f}));
  EXPECT_EQ(weight, (std::vector<float>{0, 0, 1, -1}));
}

// By hand. Step 1: m / correction = g and v / correction = g^2, so that the weight moves by the learning rate against
// the sign of g, and by decay: 2 - 0.1 (1 + 0.01 * 2) = 1.898. Step 2 with g = 0: m = 0.9 * 0.1 * 3 = 0.27, its
// correction 0.19; v = 0.999 * 0.001 * 9 = 0.008991, its correction 0.001999.
TEST(AdamW, TwoStepsByHand) {
  double parameter = 2, gradient = 3, m = 0, v = 0;
  AdamW<double> call{&parameter, nullptr, &gradient, &m, &v, 1, {0.1, 0.9, 0.999, 0, 0.01}, 0.1, 0.001};
  cpu::adamw(call);
  EXPECT_NEAR(parameter, 1.898, 1e-12);
  EXPECT_EQ(gradient, 0);
  call.correction1 = 0.19;
  call.correction2 = 0.001999;
  cpu::adamw(call);
  EXPECT_NEAR(m, 0.27, 1e-15);
  EXPECT_NEAR(v, 0.008991, 1e-15);
  EXPECT_NEAR(parameter, 1.898 - 0.1 * (0.27 / 0.19 / std::sqrt(0.008991 / 0.001999) + 0.01 * 1.898), 1e-12);
}

// With master weights the parameters are what those round to, and nothing is read from them: ten steps of 1e-3.
TEST(AdamW, MasterWeightsDecide) {
  float parameter = NAN, master = 1, m = 0, v = 0;
  for (int step = 1; step <= 10; ++step) {
    float gradient = 1;
    AdamW<float> call{&parameter, &master, &gradient, &m, &v, 1, {1e-3, 0.9, 0.999, 0, 0}, 0, 0};
    call.correction1 = 1 - std::pow(0.9, step);
    call.correction2 = 1 - std::pow(0.999, step);
    cpu::adamw(call);
  }
  EXPECT_NEAR(master, 0.99, 1e-5);
  EXPECT_EQ(parameter, master);
}

}  // namespace
}  // namespace alchemist

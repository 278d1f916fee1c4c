// alchemist learning: what the age of records does to learning, measured by training a real model.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <sstream>

#include "sim/app/aged_training_options.h"
#include "sim/app/cli.h"
#include "sim/app/option_checks.h"
#include "sim/base/error.h"
#include "sim/report/output_file.h"
#include "validate/learning_curve.h"

namespace alchemist {
namespace {

struct LearningArguments {
  AgedTrainingOptions training;
  LearningOptions learning;
  std::vector<std::int32_t> lags = {1, 4, 16};
  std::int32_t repeats = 1;
  std::string backward = "current";
  std::optional<std::int32_t> pretrain_steps;
  double pretrain_learning_rate = 1e-3;

  bool recorded_backward() const { return backward == "recorded"; }
  // A model that knows nothing learns in another way than those that people train further.
  std::int32_t steps_before() const { return pretrain_steps.value_or(training.weights.empty() ? 200 : 0); }
};

struct Curve {
  std::int32_t lag = 0;
  std::uint64_t seed = 0;
  std::vector<LearningPoint> points;
};

// What all curves of a seed start from; empty: from what the model is made with.
std::vector<Decoder::NamedTensor> start_of(AgedTrainingOptions training, const LearningOptions& learning,
                                           const LearningArguments& arguments) {
  if (arguments.steps_before() == 0) return {};
  training.method = "full";
  training.learning_rate = arguments.pretrain_learning_rate;
  RealModel model = make_model(training, decoder_options(training));
  return pretrained_weights(model.decoder(), learning, arguments.steps_before());
}

void check_backward(const LearningArguments& arguments, const DecoderOptions& options) {
  if (!arguments.recorded_backward() || backward_can_be_recorded(options, arguments.training.recorded_rows())) return;
  throw ConfigError(fmt::format(
      "--backward recorded: model {} has norms of queries and keys, which full fine-tuning trains; expected "
      "--method lora or --recorded all",
      options.shape.name));
}

// Of each seed a curve for each lag, that of lag 0 first.
std::vector<Curve> train_all(const LearningArguments& arguments, std::string& device) {
  std::vector<std::int32_t> lags = arguments.lags;
  lags.push_back(0);  // what the others are measured by
  std::sort(lags.begin(), lags.end());
  lags.erase(std::unique(lags.begin(), lags.end()), lags.end());
  std::vector<Curve> curves;
  for (std::int32_t repeat = 0; repeat < arguments.repeats; ++repeat) {
    AgedTrainingOptions training = arguments.training;
    training.batch.seed += static_cast<std::uint64_t>(repeat);
    LearningOptions learning = arguments.learning;
    learning.batch = training.batch;
    learning.recorded = training.recorded_rows();
    learning.recorded_backward = arguments.recorded_backward();
    const std::vector<Decoder::NamedTensor> start = start_of(training, learning, arguments);
    for (const std::int32_t lag : lags) {
      RealModel model = make_model(training, decoder_options(training));
      for (const Decoder::NamedTensor& weight : start) model.decoder().set_named_weight(weight);
      device = model.description();
      curves.push_back({lag, training.batch.seed, learning_curve(model.decoder(), learning, lag)});
      const LearningPoint& last = curves.back().points.back();
      fmt::print(stderr, "seed {}, lag {}: loss {:.4f} after {} steps\n", training.batch.seed, lag, last.loss,
                 last.step);
      if (lag > 0 || last.step == learning.steps) continue;
      throw ConfigError(
          fmt::format("training by a fresh forward diverges within {} steps: expected a --learning-rate below {}",
                      last.step + learning.every, training.learning_rate));
    }
  }
  return curves;
}

std::string csv_of(const std::vector<Curve>& curves) {
  std::ostringstream out;
  out << "lag,seed,step,loss\n";
  for (const Curve& curve : curves) {
    for (const LearningPoint& point : curve.points) {
      out << fmt::format("{},{},{},{:.6f}\n", curve.lag, curve.seed, point.step, point.loss);
    }
  }
  return out.str();
}

// Of one lag, over all seeds.
void print_row(const std::vector<Curve>& curves, std::int32_t lag, const LearningArguments& arguments) {
  const std::int32_t steps = arguments.learning.steps;
  double loss = 0, fresh_steps = 0;
  bool at_least = false;
  const Curve* fresh = nullptr;
  for (const Curve& curve : curves) {
    if (curve.lag == 0) fresh = &curve;
    if (curve.lag != lag) continue;
    if (curve.points.back().step < steps) {
      fmt::print("{:>3}  diverges after step {}\n", lag, curve.points.back().step);
      return;
    }
    const std::optional<double> same = steps_to_final_loss(fresh->points, curve.points);
    at_least = at_least || !same;
    loss += curve.points.back().loss / arguments.repeats;
    fresh_steps += same.value_or(steps) / arguments.repeats;
  }
  fmt::print("{:>3}  {:>10.4f}  {:>11}\n", lag, loss, fmt::format("{}{:.1f}", at_least ? ">= " : "", fresh_steps));
}

void print_table(const std::vector<Curve>& curves, const LearningArguments& arguments) {
  fmt::print("lag  final loss  fresh steps\n");
  std::int32_t last = -1;
  for (const Curve& curve : curves) {
    if (curve.lag <= last) break;  // the next seed
    print_row(curves, last = curve.lag, arguments);
  }
  fmt::print(
      "Loss of held-out samples after {} steps of {} samples of {} + {} tokens, and after how many steps with fresh "
      "activations it is the same.\n",
      arguments.learning.steps, arguments.training.batch.samples, arguments.training.batch.prompt_tokens,
      arguments.training.batch.answer_tokens);
  if (arguments.recorded_backward()) fmt::print("Backward of recorded tokens under the weights of their record.\n");
}

void learn(const LearningArguments& arguments) {
  const AgedTrainingOptions& training = arguments.training;
  const DecoderOptions options = decoder_options(training);
  check_backward(arguments, options);
  ResultDirectory directory(training.out);  // before minutes are spent on what could not be written
  std::string device;
  const std::vector<Curve> curves = train_all(arguments, device);
  nlohmann::ordered_json json = provenance(training, options, device);
  json["alphabet"] = training.batch.alphabet;
  json["pretrain_steps"] = arguments.steps_before();
  json["pretrain_learning_rate"] = arguments.pretrain_learning_rate;
  json["steps"] = arguments.learning.steps;
  json["held_out"] = arguments.learning.held_out;
  json["repeats"] = arguments.repeats;
  json["backward"] = arguments.backward;
  directory.create("learning.csv").write(csv_of(curves));
  directory.create("learning.json").write(json.dump(2) + "\n");
  directory.commit();
  print_table(curves, arguments);
  fmt::print("{}\nResults: {}\n", device, training.out);
}

}  // namespace

void add_learning_command(CLI::App& app) {
  auto arguments = std::make_shared<LearningArguments>();
  arguments->training.method = "full";
  arguments->training.batch.alphabet = 64;
  CLI::App* command =
      app.add_subcommand("learning", "Train a real model from records of several ages, and compare how well it learns");
  add_aged_training_options(*command, arguments->training, "learning.csv and learning.json");
  LearningOptions& options = arguments->learning;
  command->add_option("--alphabet", arguments->training.batch.alphabet, "different tokens in the samples")
      ->check(whole_number(4, 1 << 24))
      ->capture_default_str();
  command
      ->add_option("--backward", arguments->backward,
                   "weights in the backward of what is recorded: the current ones, or those that it was recorded under")
      ->check(CLI::IsMember({"current", "recorded"}))
      ->capture_default_str();
  command->add_option("--lags", arguments->lags, "optimizer steps between record and use; 0 comes by itself")
      ->delimiter(',')
      ->check(whole_number(0, 1000))
      ->capture_default_str();
  command->add_option("--steps", options.steps, "of the optimizer")
      ->check(whole_number(1, 1000000))
      ->capture_default_str();
  command->add_option("--every", options.every, "steps between two measurements of the loss")
      ->check(whole_number(1, 1000000))
      ->capture_default_str();
  command->add_option("--held-out", options.held_out, "batches to measure the loss of")
      ->check(whole_number(1, 1024))
      ->capture_default_str();
  command->add_option("--repeats", arguments->repeats, "trainings of each lag, with one seed after the other")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  command
      ->add_option(
          "--pretrain-steps", arguments->pretrain_steps,
          "of full fine-tuning by fresh forwards, on other samples, before the curves begin (default: 200; 0 with "
          "--weights)")
      ->check(whole_number(0, 1000000))
      ->capture_default_str();
  command->add_option("--pretrain-learning-rate", arguments->pretrain_learning_rate)
      ->check(number(0, 1))
      ->capture_default_str();
  command->callback([arguments] { learn(*arguments); });
}

}  // namespace alchemist

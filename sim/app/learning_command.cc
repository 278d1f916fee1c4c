// alchemist learning: what the age of records does to learning, measured by training a real model.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <utility>

#include "sim/app/aged_training_options.h"
#include "sim/app/cli.h"
#include "sim/app/option_checks.h"
#include "sim/app/run_ages.h"
#include "sim/base/error.h"
#include "sim/report/csv_text.h"
#include "sim/report/output_file.h"
#include "validate/learning_curve.h"

namespace alchemist {
namespace {

struct LearningArguments {
  AgedTrainingOptions training;
  LearningOptions learning;
  std::vector<std::int32_t> lags;  // empty: kUsualLags, or none where there are runs
  std::vector<std::string> runs;   // folders
  std::int32_t repeats = 1;
  std::string backward = "current";
  std::optional<std::int32_t> pretrain_steps;
  double pretrain_learning_rate = 1e-3;

  bool recorded_backward() const { return backward == "recorded"; }
  // A model that knows nothing learns in another way than those that people train further.
  std::int32_t steps_before() const { return pretrain_steps.value_or(training.weights.empty() ? 200 : 0); }
};

constexpr std::int32_t kUsualLags[] = {1, 4, 16};

// How old the records of a curve are: all of them equally, or as they were in a run.
struct Ages {
  std::int32_t lag = 0;
  std::optional<RunAges> run;

  std::span<const std::int32_t> lags() const {
    return run ? std::span<const std::int32_t>(run->lags) : std::span<const std::int32_t>(&lag, 1);
  }
  std::string name() const { return run ? run->name : fmt::format("lag {}", lag); }
};

struct Curve {
  std::size_t ages = 0;  // index
  std::uint64_t seed = 0;
  std::vector<LearningPoint> points;
};

// Fresh activations first, by which the others are measured.
std::vector<Ages> all_ages(const LearningArguments& arguments) {
  std::vector<std::int32_t> lags = arguments.lags;
  if (lags.empty() && arguments.runs.empty()) lags.assign(std::begin(kUsualLags), std::end(kUsualLags));
  lags.push_back(0);
  std::sort(lags.begin(), lags.end());
  lags.erase(std::unique(lags.begin(), lags.end()), lags.end());
  std::vector<Ages> ages;
  for (const std::int32_t lag : lags) ages.push_back({lag, {}});
  for (const std::string& folder : arguments.runs) {
    Ages run{0, read_run_ages(folder)};
    const auto same = [&](const Ages& other) { return other.run && other.run->name == run.run->name; };
    if (std::ranges::any_of(ages, same)) {
      throw ConfigError(fmt::format("--run {}: another one is named {} too, expected folders of different names",
                                    folder, run.run->name));
    }
    ages.push_back(std::move(run));
  }
  return ages;
}

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
  if (!arguments.recorded_backward()) return;
  if (!backward_can_be_recorded(options, arguments.training.recorded_rows())) {
    throw ConfigError(fmt::format(
        "--backward recorded: model {} has norms of queries and keys, which full fine-tuning trains; expected "
        "--method lora or --recorded all",
        options.shape.name));
  }
  if (options.training.method == TrainingMethod::full && !arguments.runs.empty()) {
    throw ConfigError(
        "--backward recorded: the samples of a --run are of several ages, and so would all weights be that full "
        "fine-tuning trains; expected --method lora");
  }
}

// Of each seed a curve for each age, that of fresh activations first.
std::vector<Curve> train_all(const LearningArguments& arguments, const std::vector<Ages>& ages, std::string& device) {
  std::vector<Curve> curves;
  for (std::int32_t repeat = 0; repeat < arguments.repeats; ++repeat) {
    AgedTrainingOptions training = arguments.training;
    training.batch.seed += static_cast<std::uint64_t>(repeat);
    LearningOptions learning = arguments.learning;
    learning.batch = training.batch;
    learning.recorded = training.recorded_rows();
    learning.recorded_backward = arguments.recorded_backward();
    const std::vector<Decoder::NamedTensor> start = start_of(training, learning, arguments);
    for (std::size_t i = 0; i < ages.size(); ++i) {
      RealModel model = make_model(training, decoder_options(training));
      for (const Decoder::NamedTensor& weight : start) model.decoder().set_named_weight(weight);
      device = model.description();
      curves.push_back({i, training.batch.seed, learning_curve(model.decoder(), learning, ages[i].lags())});
      const LearningPoint& last = curves.back().points.back();
      fmt::print(stderr, "seed {}, {}: loss {:.4f} after {} steps\n", training.batch.seed, ages[i].name(), last.loss,
                 last.step);
      if (i > 0 || last.step == learning.steps) continue;
      throw ConfigError(
          fmt::format("training by a fresh forward diverges within {} steps: expected a --learning-rate below {}",
                      last.step + learning.every, training.learning_rate));
    }
  }
  return curves;
}

// `lag` is empty where `run` is not.
std::string csv_of(const std::vector<Curve>& curves, const std::vector<Ages>& ages) {
  std::ostringstream out;
  out << "lag,seed,step,loss,run\n";
  for (const Curve& curve : curves) {
    const Ages& age = ages[curve.ages];
    const std::string lag = age.run ? "" : fmt::format("{}", age.lag);
    const std::string run = age.run ? csv_field(age.run->name) : "";
    for (const LearningPoint& point : curve.points) {
      out << fmt::format("{},{},{},{:.6f},{}\n", lag, curve.seed, point.step, point.loss, run);
    }
  }
  return out.str();
}

// Of one age, over all seeds.
struct Learned {
  std::optional<std::int32_t> diverged_after;  // steps, in one of the seeds
  double loss = 0;
  double fresh_steps = 0;
  bool at_least = false;  // the fresh steps
};

Learned learned(const std::vector<Curve>& curves, std::size_t ages, const LearningArguments& arguments) {
  Learned result;
  const Curve* fresh = nullptr;
  for (const Curve& curve : curves) {
    if (curve.ages == 0) fresh = &curve;
    if (curve.ages != ages) continue;
    if (curve.points.back().step < arguments.learning.steps) {
      result.diverged_after = curve.points.back().step;
      return result;
    }
    const std::optional<double> same = steps_to_final_loss(fresh->points, curve.points);
    result.at_least = result.at_least || !same;
    result.loss += curve.points.back().loss / arguments.repeats;
    result.fresh_steps += same.value_or(arguments.learning.steps) / arguments.repeats;
  }
  return result;
}

std::string told(const Learned& row) {
  if (row.diverged_after) return fmt::format("diverges after step {}", *row.diverged_after);
  return fmt::format("{:>10.4f}  {:>11}", row.loss,
                     fmt::format("{}{:.1f}", row.at_least ? ">= " : "", row.fresh_steps));
}

// What a run trains counts for less by what its age takes from each step. Where the loss of fresh activations stops to
// fall, they too reach their last one early.
void print_runs(const std::vector<Curve>& curves, const std::vector<Ages>& ages, const LearningArguments& arguments) {
  std::size_t width = 3;
  for (const Ages& age : ages) width = std::max(width, age.run ? age.run->name.size() : 0);
  fmt::print("{:<{}}  mean lag  final loss  fresh steps  tokens/s  as fresh\n", "run", width);
  const double all_steps = learned(curves, 0, arguments).fresh_steps;
  for (std::size_t i = 0; i < ages.size(); ++i) {
    if (!ages[i].run) continue;
    const Learned row = learned(curves, i, arguments);
    fmt::print("{:<{}}  {:>8.1f}  {}", ages[i].run->name, width, ages[i].run->mean_lag, told(row));
    const double rate = ages[i].run->train_tokens_per_s;
    // With weights that do not move nothing is learned in any number of steps.
    if (!row.diverged_after && all_steps > 0) {
      fmt::print("  {:>8.0f}  {:>8.0f}", rate, rate * row.fresh_steps / all_steps);
    }
    fmt::print("\n");
  }
}

void print_table(const std::vector<Curve>& curves, const std::vector<Ages>& ages, const LearningArguments& arguments) {
  fmt::print("lag  final loss  fresh steps\n");
  for (std::size_t i = 0; i < ages.size(); ++i) {
    if (!ages[i].run) fmt::print("{:>3}  {}\n", ages[i].lag, told(learned(curves, i, arguments)));
  }
  if (!arguments.runs.empty()) print_runs(curves, ages, arguments);
  fmt::print(
      "Loss of held-out samples after {} steps of {} samples of {} + {} tokens, and after how many steps with fresh "
      "activations it is the same.\n",
      arguments.learning.steps, arguments.training.batch.samples, arguments.training.batch.prompt_tokens,
      arguments.training.batch.answer_tokens);
  if (!arguments.runs.empty()) {
    fmt::print("As fresh: the run's training tokens/s times its fresh steps over those of lag 0.\n");
  }
  if (arguments.recorded_backward()) fmt::print("Backward of recorded tokens under the weights of their record.\n");
}

nlohmann::ordered_json json_of_runs(const std::vector<Ages>& ages) {
  nlohmann::ordered_json runs = nlohmann::ordered_json::array();
  for (const Ages& age : ages) {
    if (!age.run) continue;
    runs.push_back({{"run", age.run->name},
                    {"samples", age.run->lags.size()},
                    {"mean_lag", age.run->mean_lag},
                    {"train_tokens_per_s", age.run->train_tokens_per_s}});
  }
  return runs;
}

void learn(const LearningArguments& arguments) {
  const AgedTrainingOptions& training = arguments.training;
  const DecoderOptions options = decoder_options(training);
  check_backward(arguments, options);
  const std::vector<Ages> ages = all_ages(arguments);
  ResultDirectory directory(training.out);  // before minutes are spent on what could not be written
  std::string device;
  const std::vector<Curve> curves = train_all(arguments, ages, device);
  nlohmann::ordered_json json = provenance(training, options, device);
  json["alphabet"] = training.batch.alphabet;
  json["pretrain_steps"] = arguments.steps_before();
  json["pretrain_learning_rate"] = arguments.pretrain_learning_rate;
  json["steps"] = arguments.learning.steps;
  json["every"] = arguments.learning.every;
  json["held_out"] = arguments.learning.held_out;
  json["repeats"] = arguments.repeats;
  json["backward"] = arguments.backward;
  json["runs"] = json_of_runs(ages);
  directory.create("learning.csv").write(csv_of(curves, ages));
  directory.create("learning.json").write(json.dump(2) + "\n");
  directory.commit();
  print_table(curves, ages, arguments);
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
  command
      ->add_option("--lags", arguments->lags,
                   "optimizer steps between record and use; 0 comes by itself (default: 1,4,16; with --run none)")
      ->delimiter(',')
      ->check(whole_number(0, 1000));
  command
      ->add_option("--run", arguments->runs,
                   "results of a run or of runs (requests.csv, summary.json): records are as old as there, sample for "
                   "sample, and its training tokens/s are told as so many with fresh activations")
      ->allow_extra_args();
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

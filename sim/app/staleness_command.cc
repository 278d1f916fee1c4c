// alchemist staleness: what the age of records does to a gradient, measured on a real device.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sim/app/cli.h"
#include "sim/app/model_config.h"
#include "sim/app/option_checks.h"
#include "sim/base/error.h"
#include "sim/report/output_file.h"
#include "validate/pretrained.h"
#include "validate/real_model.h"
#include "validate/staleness.h"

namespace alchemist {
namespace {

// A CPU may take what the machine has: an allocation that fails says so.
constexpr std::int64_t kAllMemory = std::int64_t{1} << 50;

struct StalenessArguments {
  std::string model = "tiny";
  std::string weights;
  std::string device = "cpu";
  std::string method = "lora";
  double learning_rate = 1e-4;
  std::int64_t lora_rank = 16;
  StalenessOptions measure;
  std::string out;
};

// Published weights are of the model that their config.json describes, and good for no more positions.
void take_weights_of(const std::string& folder, DecoderOptions& options) {
  const ModelShape stored = load_model(folder + "/config.json");
  if (const auto difference = shape_difference(options.shape, stored)) {
    throw ConfigError(fmt::format("{}/config.json: another model than --model {}, whose {}", folder, options.shape.name,
                                  *difference));
  }
  options.shape.max_position = std::min(options.shape.max_position, stored.max_position);
  read_pretrained_settings(folder, options);
}

DecoderOptions decoder_options(const StalenessArguments& arguments) {
  DecoderOptions options;
  options.shape = load_model(arguments.model);
  options.training.method = arguments.method == "full" ? TrainingMethod::full : TrainingMethod::lora;
  options.training.lora_rank = arguments.lora_rank;
  options.optimizer.learning_rate = arguments.learning_rate;
  options.seed = arguments.measure.seed;
  if (!arguments.weights.empty()) take_weights_of(arguments.weights, options);
  const StalenessOptions& measure = arguments.measure;
  const std::int64_t length = std::int64_t{measure.prompt_tokens} + measure.answer_tokens;
  if (length > options.shape.max_position) {
    throw ConfigError(fmt::format("--prompt-tokens, --answer-tokens: {} tokens; model {} has positions for {}", length,
                                  options.shape.name, options.shape.max_position));
  }
  options.limits.micro_batch_tokens = length * measure.samples;
  options.limits.step_tokens = options.limits.step_sequences = 1;  // nothing is served
  return options;
}

std::string provenance(const StalenessArguments& arguments, const DecoderOptions& options, const std::string& device) {
  const StalenessOptions& measure = arguments.measure;
  const nlohmann::ordered_json json = {
      {"model", options.shape.name},
      {"weights", arguments.weights.empty() ? "random" : arguments.weights},
      {"device", device},
      {"method", arguments.method},
      {"lora_rank", arguments.lora_rank},
      {"lora_alpha", options.lora_alpha},
      {"learning_rate", arguments.learning_rate},
      {"seed", measure.seed},
      {"samples", measure.samples},
      {"prompt_tokens", measure.prompt_tokens},
      {"answer_tokens", measure.answer_tokens},
      {"warm_up_steps", measure.warm_up_steps},
      {"repeats", measure.repeats},
  };
  return json.dump(2) + "\n";
}

// Means over the repeats.
void print_table(const std::vector<StalenessPoint>& points, const StalenessOptions& options) {
  fmt::print("lag       cosine  relative error\n");
  for (std::int32_t lag = 0; lag <= options.max_lag; ++lag) {
    double cosine = 0, error = 0;
    for (const StalenessPoint& point : points) {
      if (point.lag != lag) continue;
      cosine += point.cosine / options.repeats;
      error += point.relative_error / options.repeats;
    }
    fmt::print("{:>3}  {:>11.6f}  {:>12.3f} %\n", lag, cosine, 100 * error);
  }
}

void measure(const StalenessArguments& arguments) {
  const DecoderOptions options = decoder_options(arguments);
  ResultDirectory directory(arguments.out);  // before minutes are spent on what could not be written
  RealModel model(device_kinds().at(arguments.device), options, kAllMemory);
  if (!arguments.weights.empty()) load_pretrained_weights(arguments.weights, model.decoder());
  const std::vector<StalenessPoint> points = measure_staleness(model.decoder(), arguments.measure);
  std::ostringstream csv;
  write_staleness(csv, points);
  directory.create("staleness.csv").write(csv.str());
  directory.create("staleness.json").write(provenance(arguments, options, model.description()));
  directory.commit();
  print_table(points, arguments.measure);
  fmt::print("{} samples of {} + {} tokens, {} records; {}\nResults: {}\n", arguments.measure.samples,
             arguments.measure.prompt_tokens, arguments.measure.answer_tokens, arguments.measure.repeats,
             model.description(), arguments.out);
}

}  // namespace

void add_staleness_command(CLI::App& app) {
  auto arguments = std::make_shared<StalenessArguments>();
  CLI::App* command = app.add_subcommand(
      "staleness",
      "Compare the gradient from aged records with that of a fresh forward, by weight-version lag, on a real device");
  StalenessOptions& measure_options = arguments->measure;
  command->add_option("--model", arguments->model, "name, YAML file or HuggingFace config.json")->capture_default_str();
  command->add_option("--weights", arguments->weights,
                      "folder with config.json and *.safetensors of a published model; without it weights are random");
  command->add_option("--device", arguments->device)->check(CLI::IsMember(device_kinds()))->capture_default_str();
  command->add_option("--method", arguments->method)->check(CLI::IsMember({"lora", "full"}))->capture_default_str();
  command->add_option("--lora-rank", arguments->lora_rank)->check(whole_number(1, 1024))->capture_default_str();
  command->add_option("--learning-rate", arguments->learning_rate, "AdamW's; the result depends on it")
      ->check(number(0, 1))
      ->capture_default_str();
  command->add_option("--max-lag", measure_options.max_lag)->check(whole_number(0, 1000))->capture_default_str();
  command->add_option("--warm-up-steps", measure_options.warm_up_steps, "optimizer steps before the first record")
      ->check(whole_number(0, 100000))
      ->capture_default_str();
  command->add_option("--repeats", measure_options.repeats, "records made, one after the other")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  command->add_option("--samples", measure_options.samples, "of a batch")
      ->check(whole_number(1, 1024))
      ->capture_default_str();
  command->add_option("--prompt-tokens", measure_options.prompt_tokens)
      ->check(whole_number(2, 1 << 20))
      ->capture_default_str();
  command->add_option("--answer-tokens", measure_options.answer_tokens)
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--seed", measure_options.seed)->check(whole_number(0))->capture_default_str();
  command->add_option("--out", arguments->out, "directory for staleness.csv and staleness.json")->required();
  command->callback([arguments] { measure(*arguments); });
}

}  // namespace alchemist

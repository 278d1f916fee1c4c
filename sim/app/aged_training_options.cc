#include "sim/app/aged_training_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/app/model_config.h"
#include "sim/app/option_checks.h"
#include "sim/base/error.h"
#include "validate/pretrained.h"

namespace alchemist {
namespace {

// A CPU may take what the machine has: an allocation that fails says so.
constexpr std::int64_t kAllMemory = std::int64_t{1} << 50;

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

}  // namespace

void add_aged_training_options(CLI::App& command, AgedTrainingOptions& options, const std::string& files) {
  command.add_option("--model", options.model, "name, YAML file or HuggingFace config.json")->capture_default_str();
  command.add_option("--weights", options.weights,
                     "folder with config.json and *.safetensors of a published model; without it weights are random");
  command.add_option("--device", options.device)->check(CLI::IsMember(device_kinds()))->capture_default_str();
  command.add_option("--method", options.method)->check(CLI::IsMember({"lora", "full"}))->capture_default_str();
  command.add_option("--lora-rank", options.lora_rank)->check(whole_number(1, 1024))->capture_default_str();
  command.add_option("--recorded", options.recorded, "prompts, as by prefill, or all: answers too, as by decode")
      ->check(CLI::IsMember({"prompts", "all"}))
      ->capture_default_str();
  command.add_option("--learning-rate", options.learning_rate, "AdamW's; the result depends on it")
      ->check(number(0, 1))
      ->capture_default_str();
  command.add_option("--samples", options.batch.samples, "of a batch")
      ->check(whole_number(1, 1024))
      ->capture_default_str();
  command.add_option("--prompt-tokens", options.batch.prompt_tokens)
      ->check(whole_number(2, 1 << 20))
      ->capture_default_str();
  command.add_option("--answer-tokens", options.batch.answer_tokens)
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--seed", options.batch.seed)->check(whole_number(0))->capture_default_str();
  command.add_option("--out", options.out, "directory for " + files)->required();
}

DecoderOptions decoder_options(const AgedTrainingOptions& options) {
  DecoderOptions decoder;
  decoder.shape = load_model(options.model);
  decoder.training.method = options.method == "full" ? TrainingMethod::full : TrainingMethod::lora;
  decoder.training.lora_rank = options.lora_rank;
  decoder.optimizer.learning_rate = options.learning_rate;
  decoder.seed = options.batch.seed;
  if (!options.weights.empty()) take_weights_of(options.weights, decoder);
  const std::int64_t length = std::int64_t{options.batch.prompt_tokens} + options.batch.answer_tokens;
  if (length > decoder.shape.max_position) {
    throw ConfigError(fmt::format("--prompt-tokens, --answer-tokens: {} tokens; model {} has positions for {}", length,
                                  decoder.shape.name, decoder.shape.max_position));
  }
  decoder.limits.micro_batch_tokens = length * options.batch.samples;
  decoder.limits.step_tokens = decoder.limits.step_sequences = 1;  // nothing is served
  return decoder;
}

RealModel make_model(const AgedTrainingOptions& options, const DecoderOptions& decoder) {
  RealModel model(device_kinds().at(options.device), decoder, kAllMemory);
  if (!options.weights.empty()) load_pretrained_weights(options.weights, model.decoder());
  return model;
}

nlohmann::ordered_json provenance(const AgedTrainingOptions& options, const DecoderOptions& decoder,
                                  const std::string& device) {
  return {
      {"model", decoder.shape.name},
      {"weights", options.weights.empty() ? "random" : options.weights},
      {"device", device},
      {"method", options.method},
      {"lora_rank", options.lora_rank},
      {"lora_alpha", decoder.lora_alpha},
      {"recorded", options.recorded},
      {"learning_rate", options.learning_rate},
      {"seed", options.batch.seed},
      {"samples", options.batch.samples},
      {"prompt_tokens", options.batch.prompt_tokens},
      {"answer_tokens", options.batch.answer_tokens},
  };
}

}  // namespace alchemist

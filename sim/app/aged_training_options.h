// What the commands that train from aged records on a real device are told in common: the model, how it is trained, and
// on what.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "validate/aged_training.h"
#include "validate/real_model.h"

namespace alchemist {

struct AgedTrainingOptions {
  std::string model = "tiny";
  std::string weights;
  std::string device = "cpu";
  std::string method = "lora";
  std::string recorded = "prompts";
  double learning_rate = 1e-4;
  std::int64_t lora_rank = 16;
  SampleBatchShape batch;
  std::string out;

  RecordedRows recorded_rows() const { return recorded == "all" ? RecordedRows::all : RecordedRows::prompts; }
};

// `files`: what --out will hold, for the help text. The options must outlive the command.
void add_aged_training_options(CLI::App& command, AgedTrainingOptions& options, const std::string& files);

// ConfigError where the options contradict each other or the model.
DecoderOptions decoder_options(const AgedTrainingOptions& options);

// A model that nothing has trained yet.
RealModel make_model(const AgedTrainingOptions& options, const DecoderOptions& decoder);

// For the file beside the results that says how they were made.
nlohmann::ordered_json provenance(const AgedTrainingOptions& options, const DecoderOptions& decoder,
                                  const std::string& device);

}  // namespace alchemist

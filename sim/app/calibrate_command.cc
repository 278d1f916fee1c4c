// alchemist calibrate: measures a device and writes a profile.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "sim/app/calibration_writer.h"
#include "sim/app/cli.h"
#include "sim/app/experiment_names.h"
#include "sim/app/model_config.h"
#include "sim/app/option_checks.h"
#include "sim/base/error.h"
#include "sim/report/output_file.h"
#include "validate/calibration.h"
#include "validate/real_model.h"

namespace alchemist {
namespace {

struct CalibrateArguments {
  std::string device;
  std::string model = "tiny";
  std::string method = "lora";
  std::int64_t tensor_parallel = 1;
  std::string out;
  bool cuda_graphs = false;
  CalibrationConfig config;
};

// A GPU's calls take microseconds to start; samples much shorter would measure that alone.
constexpr std::int32_t kShortSampleOnGpu = 512;
constexpr std::int64_t kLeastLayers = 2;                    // what cold caches cost a piece is told by a second one
constexpr std::int64_t kCpuMemory = std::int64_t{8} << 30;  // that the measurements may take at most

void print_held_out(const std::vector<HeldOut>& held_out) {
  const auto heading = [](const char* title, const char* first) {
    fmt::print("{:<24}{:>14}{:>14}{:>10}{:>18}\n", title, "measured us", "priced us", "error", first);
  };
  heading("steps held out", "");
  bool pieces = false;
  for (const HeldOut& row : held_out) {
    if (row.first_us && !std::exchange(pieces, true)) heading("pieces held out", "first of a size");
    const std::string first = row.first_us ? fmt::format("{:.1f}", *row.first_us) : "";
    fmt::print("{:<24}{:>14.1f}{:>14.1f}{:>+8.1f} %{:>18}\n", row.shape, row.measured_us, row.priced_us,
               100 * row.error(), first);
  }
}

void calibrate_device(const CalibrateArguments& arguments) {
  const CalibrationConfig& config = arguments.config;
  if (config.step_tokens >= config.longest_context) {
    throw ConfigError(fmt::format("--context: expected more than --step-tokens ({}), got {}", config.step_tokens,
                                  config.longest_context));
  }
  DecoderOptions options;
  const ModelShape whole = load_model(arguments.model);
  if (const auto error = split_error(whole, arguments.tensor_parallel))
    throw ConfigError("--tensor-parallel: " + *error);
  options.shape = gpu_shard(whole, arguments.tensor_parallel);
  if (options.shape.layers < kLeastLayers) {
    throw ConfigError(fmt::format("--model: expected at least {} layers, got the {} of {}", kLeastLayers,
                                  options.shape.layers, options.shape.name));
  }
  if (config.longest_context + config.step_tokens > options.shape.max_position) {
    throw ConfigError(fmt::format("--context: with --step-tokens expected at most the {} positions of {}, got {} + {}",
                                  options.shape.max_position, options.shape.name, config.longest_context,
                                  config.step_tokens));
  }
  options.training.method = arguments.method == "lora" ? TrainingMethod::lora : TrainingMethod::full;
  options.limits.step_tokens = options.limits.step_sequences = config.step_tokens + config.step_sequences;
  options.limits.micro_batch_tokens = config.micro_batch_tokens;
  options.repeat_decodes = arguments.cuda_graphs;
  ResultDirectory files(arguments.out);  // before minutes are spent on what could not be written
  RealModel model(device_kinds().at(arguments.device), options, kCpuMemory);
  CalibrationConfig with_progress = config;
  if (device_kinds().at(arguments.device) != DeviceKind::cpu) with_progress.short_sample = kShortSampleOnGpu;
  with_progress.progress = [](const std::string& what) { fmt::print(stderr, "measuring {}\n", what); };
  const Calibration result = calibrate(model.decoder(), with_progress);
  write_calibration(files, result, options.shape,
                    {.device = model.description(),
                     .model = whole.name,
                     .training = arguments.method,
                     .tensor_parallel = arguments.tensor_parallel,
                     .cuda_graphs = arguments.cuda_graphs,
                     .rounds = config.rounds});
  print_held_out(check_calibration(arguments.out, result, options.shape));
  fmt::print(
      "\noperations took {:+.1f} % on average against their medians; they are priced so\ndevice: {}\nProfile: {}\n",
      100 * (result.disturbance - 1), model.description(), arguments.out);
}

}  // namespace

void add_calibrate_command(CLI::App& app) {
  auto arguments = std::make_shared<CalibrateArguments>();
  CLI::App* command = app.add_subcommand(
      "calibrate", "Measure steps, training pieces, link and host overhead of a device; writes what `profile:` takes");
  command->add_option("--device", arguments->device, "what to measure")
      ->check(CLI::IsMember(device_kinds()))
      ->required();
  command->add_option("--model", arguments->model, "name, YAML file or config.json")->capture_default_str();
  command->add_option("--method", arguments->method, "of training")
      ->check(CLI::IsMember({"lora", "full"}))
      ->capture_default_str();
  command
      ->add_option("--tensor-parallel", arguments->tensor_parallel,
                   "GPUs that serving.tensor_parallel splits the layers over: measures what one of them computes; "
                   "what passes between them is simulated by the hardware's interconnect")
      ->check(whole_number(1, kMostGpusOfAReplica))
      ->capture_default_str();
  command->add_flag("--cuda-graphs", arguments->cuda_graphs,
                    "replay captured decode steps, as `serving.cuda_graphs: true` does on a GPU");
  command->add_option("--out", arguments->out, "folder of the profile")->required();
  CalibrationConfig& config = arguments->config;
  const auto add = [&](const char* name, std::int32_t& value, const char* meaning, int least, int most) {
    command->add_option(name, value, meaning)->check(whole_number(least, most))->capture_default_str();
  };
  add("--step-tokens", config.step_tokens, "largest serving step: serving.max_num_batched_tokens", 256, 65536);
  add("--sequences", config.step_sequences, "most requests of a step: serving.max_num_seqs", 16, 1024);
  add("--context", config.longest_context, "longest context", 512, 1 << 20);
  add("--micro-batch-tokens", config.micro_batch_tokens, "largest micro-batch of training", 128, 1 << 20);
  add("--rounds", config.rounds, "of which the median counts", 1, 1000);
  command->callback([arguments] { calibrate_device(*arguments); });
}

}  // namespace alchemist

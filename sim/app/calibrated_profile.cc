#include "sim/app/calibrated_profile.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <set>

#include "sim/app/config_paths.h"
#include "sim/app/conflict_error.h"
#include "sim/app/experiment_names.h"
#include "sim/app/policy_config.h"
#include "sim/app/yaml_reader.h"

namespace alchemist {
namespace {

namespace fs = std::filesystem;

// Letters and digits alone, as names of hardware are written in many ways.
std::string plain(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const auto letter = static_cast<unsigned char>(c);
    if (std::isalnum(letter) != 0) result += static_cast<char>(std::tolower(letter));
  }
  return result;
}

// "a100" of "a100-80g", "cpu" of "cpu-2core": what a device's own name has of that of a hardware file.
std::string device_word(const std::string& hardware) {
  const std::size_t dash = hardware.rfind('-');
  const bool size = dash != std::string::npos && (hardware.ends_with("g") || hardware.ends_with("core")) &&
                    std::isdigit(static_cast<unsigned char>(hardware[dash + 1])) != 0;
  return plain(size ? hardware.substr(0, dash) : hardware);
}

// Of hardware that is built in. What others call theirs says nothing.
bool is_another_device(const std::string& device, const std::string& hardware) {
  const std::vector<std::string> known = list_configs("hardware");
  return std::find(known.begin(), known.end(), hardware) != known.end() &&
         plain(device).find(device_word(hardware)) == std::string::npos;
}

std::optional<YamlMap> meta_of(const fs::path& profile) {
  const fs::path meta = profile / "meta.yaml";
  if (!fs::exists(meta)) return std::nullopt;
  return YamlMap(YamlValue::load(meta.string()));
}

// With what a profile was measured, as its meta.yaml says: ours, or that of LLMServingSim.
struct Origin {
  std::string device;
  std::optional<std::string> model, training;
  std::optional<std::int64_t> parameters;  // of one GPU; models that are made from others often keep their name
};

std::optional<Origin> origin_of(const fs::path& profile) {
  std::optional<YamlMap> meta = meta_of(profile);
  if (!meta) return std::nullopt;
  Origin origin;
  for (const char* key : {"gpu", "device"}) {
    if (const auto device = meta->optional(key)) origin.device = device->as_string();
  }
  if (const auto model = meta->optional("model")) origin.model = model->as_string();
  if (const auto parameters = meta->optional("parameters"); parameters && meta->optional("device")) {
    origin.parameters = parameters->as_int(1, std::numeric_limits<std::int64_t>::max());
  }
  if (const auto training = meta->optional("training")) origin.training = training->as_string();
  return origin;
}

// "meta-llama/Llama-3.1-8B" is llama-3.1-8b.
bool is_another_model(const std::string& measured, const std::string& model) {
  return plain(fs::path(measured).filename().string()) != plain(model);
}

void warn_of_origin(const Origin& origin, const Experiment& experiment, bool trains,
                    std::vector<std::string>& warnings) {
  const std::string method = word_of(experiment.training.method, training_methods());
  const std::string profile = experiment.profile->string();
  const std::set<LinearModule>& modules = experiment.training.lora_modules;
  const bool some_modules = experiment.training.method == TrainingMethod::lora && modules != all_linear_modules();
  std::vector<std::string> others;
  const std::int64_t parameters = gpu_shard(experiment.model, experiment.serving.tensor_parallel).parameters();
  if (origin.model && is_another_model(*origin.model, experiment.model.name)) {
    others.push_back("model " + *origin.model);
  } else if (origin.parameters && *origin.parameters != parameters) {
    others.push_back(fmt::format("another model of this name ({} parameters, not {})", *origin.parameters, parameters));
  }
  if (trains && origin.training && *origin.training != method)
    others.push_back("training.method " + *origin.training);
  else if (trains && origin.training && some_modules)
    others.emplace_back("adapters on all linear modules");
  if (!others.empty()) {
    std::string training = method;
    if (some_modules) {
      training += " on";
      for (const LinearModule module : modules) training += " " + word_of(module, linear_modules());
    }
    warnings.push_back(fmt::format("profile {} was measured with {}, but this is {} with {}: its times may be far off",
                                   profile, fmt::join(others, " and "), experiment.model.name, training));
  }
  if (is_another_device(origin.device, experiment.hardware.name)) {
    warnings.push_back(fmt::format(
        "profile {} was measured on {}, but hardware is {}: kernels take the times of the one, memory is the other's",
        profile, origin.device.substr(0, origin.device.find(',')), experiment.hardware.name));
  }
}

}  // namespace

std::optional<CalibratedWith> calibrated_with(const fs::path& profile) {
  std::optional<YamlMap> meta = meta_of(profile);
  if (!meta || !meta->optional("device")) return std::nullopt;
  CalibratedWith with;
  if (const auto graphs = meta->optional("cuda_graphs")) with.cuda_graphs = graphs->as_bool();
  const auto sensitivity = meta->optional("speed_sensitivity"), level = meta->optional("speed_level");
  if (sensitivity && level) with.speed = SpeedLaw{sensitivity->as_number(-10, 10), level->as_number(1e-12, 1e12)};
  return with;
}

void check_measured_split(const Experiment& experiment) {
  const fs::path& profile = *experiment.profile;
  if (!fs::is_directory(profile)) return;
  std::int64_t measured = 1;
  if (std::optional<YamlMap> meta = meta_of(profile)) {
    if (const auto gpus = meta->optional("tensor_parallel")) measured = gpus->as_int(1, kMostGpusOfAReplica);
  }
  const std::int32_t wanted = experiment.serving.tensor_parallel;
  if (measured == wanted) return;
  throw ConflictError(
      "serving.tensor_parallel",
      fmt::format(
          "is {}, but profile {} was measured on {}; expected one by `alchemist calibrate --tensor-parallel {}`",
          wanted, profile.string(), measured == 1 ? "a GPU with whole layers" : fmt::format("one of {} GPUs", measured),
          wanted));
}

std::vector<std::string> profile_warnings(const Experiment& experiment) {
  std::vector<std::string> warnings;
  if (!experiment.profile) return warnings;
  const bool trains = load_policy(experiment.policy).trains();
  const std::string profile = experiment.profile->string();
  if (const std::optional<Origin> origin = origin_of(*experiment.profile)) {
    warn_of_origin(*origin, experiment, trains, warnings);
  } else {
    warnings.push_back(fmt::format(
        "profile {} has no meta.yaml: whether it was measured with this model and hardware is not known", profile));
  }
  // A single file is Vidur's table, without attention.
  const bool attention = fs::is_directory(*experiment.profile);
  const bool training = !trains || fs::exists(*experiment.profile / "training.csv");
  if (!attention || !training) {
    warnings.push_back(fmt::format("profile {} lacks {}, whose times come from the roofline of {}", profile,
                                   attention  ? "training (training.csv)"
                                   : training ? "attention"
                                              : "attention and training",
                                   experiment.hardware.name));
  }
  return warnings;
}

}  // namespace alchemist

#include "sim/app/calibrated_profile.h"

#include <fmt/format.h>

#include "sim/app/experiment_names.h"
#include "sim/app/policy_config.h"
#include "sim/app/yaml_reader.h"

namespace alchemist {

std::optional<CalibratedWith> calibrated_with(const std::filesystem::path& profile) {
  const std::filesystem::path meta = profile / "meta.yaml";
  if (!std::filesystem::exists(meta) || !std::filesystem::exists(profile / "training.csv")) return std::nullopt;
  YamlMap map(YamlValue::load(meta.string()));
  CalibratedWith with;
  if (const auto model = map.optional("model")) with.model = model->as_string();
  if (const auto training = map.optional("training")) with.training = training->as_string();
  if (const auto graphs = map.optional("cuda_graphs")) with.cuda_graphs = graphs->as_bool();
  const auto sensitivity = map.optional("speed_sensitivity"), level = map.optional("speed_level");
  if (sensitivity && level) with.speed = SpeedLaw{sensitivity->as_number(-10, 10), level->as_number(1e-12, 1e12)};
  return with;
}

std::optional<std::string> profile_warning(const Experiment& experiment) {
  if (!experiment.profile) return std::nullopt;
  const std::optional<CalibratedWith> with = calibrated_with(*experiment.profile);
  if (!with) return std::nullopt;
  const std::string method = word_of(experiment.training.method, training_methods());
  std::string other;
  if (with->model && *with->model != experiment.model.name) other = "model " + *with->model;
  const bool trains = load_policy(experiment.policy).trains();
  if (trains && with->training && *with->training != method) {
    other += (other.empty() ? "" : " and ") + ("training.method " + *with->training);
  }
  if (other.empty()) return std::nullopt;
  return fmt::format("profile {} was measured with {}, but this is {} with {}: its times may be far off",
                     experiment.profile->string(), other, experiment.model.name, method);
}

}  // namespace alchemist

#include "validate/pretrained.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sim/base/error.h"
#include "validate/safetensors.h"

namespace alchemist {
namespace {

double number(const nlohmann::json& json, const std::string& file, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number() || !(found->get<double>() > 0)) {
    throw ConfigError(fmt::format("{}: {}: expected a number above 0", file, key));
  }
  return found->get<double>();
}

std::optional<RopeScaling> read_scaling(const nlohmann::json& json, const std::string& file) {
  const auto found = json.find("rope_scaling");
  if (found == json.end() || found->is_null()) return std::nullopt;
  if (!found->is_object() || found->value("rope_type", "") != "llama3") {
    throw ConfigError(fmt::format("{}: rope_scaling: expected null, or an object with rope_type \"llama3\"", file));
  }
  RopeScaling scaling;
  scaling.factor = number(*found, file, "factor");
  scaling.low_freq_factor = number(*found, file, "low_freq_factor");
  scaling.high_freq_factor = number(*found, file, "high_freq_factor");
  scaling.original_max_position = number(*found, file, "original_max_position_embeddings");
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    throw ConfigError(fmt::format("{}: high_freq_factor: expected more than low_freq_factor", file));
  }
  return scaling;
}

std::vector<SafetensorsFile> open_files(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".safetensors") paths.push_back(entry.path().string());
  }
  if (paths.empty()) throw ConfigError(fmt::format("{}: expected a folder with *.safetensors files", folder));
  std::sort(paths.begin(), paths.end());
  return {paths.begin(), paths.end()};
}

}  // namespace

void read_pretrained_settings(const std::string& folder, DecoderOptions& options) {
  const std::string file = (std::filesystem::path(folder) / "config.json").string();
  std::ifstream stream(file);
  if (!stream) throw ConfigError(fmt::format("{}: cannot be read", file));
  const nlohmann::json json = nlohmann::json::parse(stream, nullptr, false);
  if (!json.is_object()) throw ConfigError(fmt::format("{}: expected a JSON object", file));
  options.norm_epsilon = number(json, file, "rms_norm_eps");
  // A key that older files leave out, with the default of the family.
  options.rope.theta = json.contains("rope_theta") ? number(json, file, "rope_theta") : 10000.0;
  options.rope.scaling = read_scaling(json, file);
}

void load_pretrained_weights(const std::string& folder, Decoder& model) {
  const std::vector<SafetensorsFile> files = open_files(folder);
  constexpr const char* kPeftPrefix = "base_model.model.";
  for (const Decoder::WeightName& wanted : model.weight_names()) {
    const SafetensorsFile* holder = nullptr;
    std::string name;
    for (const std::string& candidate : {wanted.name, kPeftPrefix + wanted.name}) {
      for (const SafetensorsFile& file : files) {
        if (!holder && file.tensors().contains(candidate)) holder = &file, name = candidate;
      }
    }
    if (!holder && wanted.adapter) continue;
    if (!holder) throw ConfigError(fmt::format("{}: no file has the tensor {}", folder, wanted.name));
    const std::vector<std::int64_t>& shape = holder->tensors().at(name).shape;
    if (shape != wanted.shape) {
      throw ConfigError(fmt::format("{}: tensor {}: shape [{}]; expected [{}]", holder->path(), name,
                                    fmt::join(shape, ", "), fmt::join(wanted.shape, ", ")));
    }
    model.set_named_weight({wanted.name, wanted.shape, holder->read(name)});
  }
}

}  // namespace alchemist

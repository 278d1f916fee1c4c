#include "validate/pretrained.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "sim/base/error.h"
#include "validate/safetensors.h"

namespace alchemist {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAdapterSettings = "adapter_config.json";
constexpr const char* kIndex = "model.safetensors.index.json";

std::string path_in(const std::string& folder, const std::string& name) { return (fs::path(folder) / name).string(); }

bool exists(const std::string& folder, const std::string& name) {
  std::error_code error;
  return fs::exists(fs::path(folder) / name, error);
}

nlohmann::json read_object(const std::string& file) {
  std::ifstream stream(file);
  if (!stream) throw ConfigError(fmt::format("{}: cannot be read", file));
  nlohmann::json json = nlohmann::json::parse(stream, nullptr, false);
  if (!json.is_object()) throw ConfigError(fmt::format("{}: expected a JSON object", file));
  return json;
}

// `within` stands in front of the key in messages: "rope_scaling.", or nothing.
double number(const nlohmann::json& json, const std::string& file, const std::string& within, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number() || !(found->get<double>() > 0)) {
    throw ConfigError(fmt::format("{}: {}{}: expected a number above 0", file, within, key));
  }
  return found->get<double>();
}

bool is_given(const nlohmann::json& json, const char* key) { return json.contains(key) && !json[key].is_null(); }

// Absent, null, false, zero or empty: not made use of.
bool is_off(const nlohmann::json& json, const char* key) {
  if (!is_given(json, key)) return true;
  const nlohmann::json& value = json[key];
  return value.is_structured() ? value.empty() : value == false || value == 0 || value == "";
}

// Rotary embedding stands in rope_scaling, with theta beside it, or, as transformers writes it since version 5, with
// theta in rope_parameters. Where a file has both, rope_scaling holds, as there.
RopeSettings read_rope(const nlohmann::json& json, const std::string& file) {
  const std::string key = is_off(json, "rope_scaling") ? "rope_parameters" : "rope_scaling";
  const nlohmann::json rope = is_off(json, key.c_str()) ? nlohmann::json::object() : json[key];
  const std::string within = key + ".";
  RopeSettings settings;
  const bool own_theta = rope.is_object() && is_given(rope, "rope_theta");
  settings.theta = 10000;  // what files that leave it out mean
  if (own_theta || is_given(json, "rope_theta")) {
    settings.theta = number(own_theta ? rope : json, file, own_theta ? within : "", "rope_theta");
  }
  nlohmann::json type = "default";
  for (const char* name : {"type", "rope_type"}) {
    if (rope.is_object() && is_given(rope, name)) type = rope[name];
  }
  if (rope.is_object() && type == "default") return settings;
  if (!rope.is_object() || type != "llama3") {
    throw ConfigError(
        fmt::format("{}: {}: expected null, or an object with rope_type \"default\" or \"llama3\"", file, key));
  }
  RopeScaling& scaling = settings.scaling.emplace();
  scaling.factor = number(rope, file, within, "factor");
  scaling.low_freq_factor = number(rope, file, within, "low_freq_factor");
  scaling.high_freq_factor = number(rope, file, within, "high_freq_factor");
  scaling.original_max_position = number(rope, file, within, "original_max_position_embeddings");
  // Older versions of transformers read this one, newer ones a key of the same name beside the object.
  if (is_given(json, "original_max_position_embeddings") &&
      json["original_max_position_embeddings"] != rope["original_max_position_embeddings"]) {
    throw ConfigError(fmt::format("{}: original_max_position_embeddings: expected what {} says", file, key));
  }
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    throw ConfigError(fmt::format("{}: {}high_freq_factor: expected more than low_freq_factor", file, within));
  }
  return settings;
}

// What PEFT writes beside adapters: their scale, and what would make them more than W + scale * B A.
void read_adapter_settings(const std::string& folder, DecoderOptions& options) {
  const std::string file = path_in(folder, kAdapterSettings);
  const nlohmann::json json = read_object(file);
  options.lora_alpha = number(json, file, "", "lora_alpha");
  if (number(json, file, "", "r") != static_cast<double>(options.training.lora_rank)) {
    throw ConfigError(fmt::format("{}: r: expected the rank that is trained, {}", file, options.training.lora_rank));
  }
  for (const char* key : {"use_rslora", "use_dora", "use_qalora", "fan_in_fan_out", "lora_bias", "rank_pattern",
                          "alpha_pattern", "layer_replication"}) {
    if (!is_off(json, key)) throw ConfigError(fmt::format("{}: {}: not supported", file, key));
  }
  // Others, such as "pissa", change the weights that the adapters are added to.
  if (is_given(json, "init_lora_weights") && !json["init_lora_weights"].is_boolean() &&
      json["init_lora_weights"] != "gaussian") {
    throw ConfigError(fmt::format("{}: init_lora_weights: expected true, false or \"gaussian\"", file));
  }
}

// All tensors of a folder, by name without PEFT's prefix. ConfigError where two files have the same one.
class Checkpoint {
 public:
  struct Entry {
    const SafetensorsFile* file = nullptr;
    std::string name;  // in the file
    const SafetensorsFile::Tensor& tensor() const { return file->tensors().at(name); }
    std::vector<double> read() const { return file->read(name); }
  };

  explicit Checkpoint(const std::string& folder) {
    for (const std::string& path : paths(folder)) files_.emplace_back(path);
    constexpr std::string_view kPeftPrefix = "base_model.model.";
    for (const SafetensorsFile& file : files_) {
      for (const auto& [name, tensor] : file.tensors()) {
        const std::string plain = name.starts_with(kPeftPrefix) ? name.substr(kPeftPrefix.size()) : name;
        const auto [at, added] = entries_.try_emplace(plain, Entry{&file, name});
        if (!added) {
          throw ConfigError(fmt::format("{}: tensor {}: is in {}, too; expected each once", file.path(), name,
                                        at->second.file->path()));
        }
      }
    }
    if (exists(folder, kIndex) && !exists(folder, "model.safetensors")) check_index(path_in(folder, kIndex));
  }

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const Entry* find(const std::string& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : &found->second;
  }

 private:
  // As transformers chooses them: model.safetensors, or what the index names; without either all that is there.
  static std::set<std::string> paths(const std::string& folder) {
    std::set<std::string> paths;
    if (exists(folder, "model.safetensors")) {
      paths.insert(path_in(folder, "model.safetensors"));
    } else if (exists(folder, kIndex)) {
      for (const auto& [tensor, file] : weight_map(path_in(folder, kIndex))) {
        paths.insert(path_in(folder, file));
        if (exists(folder, file)) continue;
        throw ConfigError(fmt::format("{}: weight_map.{}: there is no file {}", path_in(folder, kIndex), tensor, file));
      }
    } else {
      std::error_code error;
      for (const auto& entry : fs::directory_iterator(folder, error)) {
        if (entry.path().extension() == ".safetensors") paths.insert(entry.path().string());
      }
    }
    if (paths.empty()) throw ConfigError(fmt::format("{}: expected a folder with *.safetensors files", folder));
    if (exists(folder, "adapter_model.safetensors")) paths.insert(path_in(folder, "adapter_model.safetensors"));
    return paths;
  }

  // The file of each tensor.
  static std::map<std::string, std::string> weight_map(const std::string& index) {
    const nlohmann::json json = read_object(index);
    std::map<std::string, std::string> result;
    if (json.contains("weight_map") && json["weight_map"].is_object()) {
      for (const auto& [tensor, file] : json["weight_map"].items()) {
        if (!file.is_string()) throw ConfigError(fmt::format("{}: weight_map.{}: expected a file", index, tensor));
        result[tensor] = file.get<std::string>();
      }
    }
    if (result.empty()) throw ConfigError(fmt::format("{}: weight_map: expected the file of each tensor", index));
    return result;
  }

  void check_index(const std::string& index) const {
    for (const auto& [tensor, file] : weight_map(index)) {
      const std::string path = path_in(fs::path(index).parent_path().string(), file);
      for (const SafetensorsFile& candidate : files_) {
        if (candidate.path() == path && !candidate.tensors().contains(tensor)) {
          throw ConfigError(fmt::format("{}: weight_map.{}: {} has no such tensor", index, tensor, path));
        }
      }
    }
  }

  std::vector<SafetensorsFile> files_;
  std::map<std::string, Entry> entries_;
};

std::vector<double> read_finite(const Checkpoint::Entry& entry) {
  std::vector<double> values = entry.read();
  const auto bad = std::find_if_not(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
  if (bad != values.end()) {
    throw ConfigError(fmt::format("{}: tensor {}: element {} is {}; expected a finite number", entry.file->path(),
                                  entry.name, bad - values.begin(), *bad));
  }
  return values;
}

// What is part of a decoder, and not of this one, would make another model of it. Others' parts (the head of a reward
// model, say) do not matter, nor do the frequencies of rotary embedding, which old files have.
void refuse_unknown_parts(const Checkpoint& checkpoint, const Decoder& model) {
  std::set<std::string> known;
  for (const Decoder::WeightName& weight : model.weight_names()) known.insert(weight.name);
  for (const auto& [name, entry] : checkpoint.entries()) {
    const bool part = name.starts_with("model.") || name.starts_with("lm_head.");
    if (!part || known.contains(name) || name.ends_with(".rotary_emb.inv_freq")) continue;
    const Checkpoint::Entry* embedding = checkpoint.find("model.embed_tokens.weight");
    const bool tied = name == "lm_head.weight" && embedding;  // and stored all the same
    if (tied && entry.read() == embedding->read()) continue;
    throw ConfigError(fmt::format("{}: tensor {}: {}", entry.file->path(), entry.name,
                                  tied ? "expected the embedding's values, which config.json ties it to"
                                       : "is no part of model " + model.options().shape.name));
  }
}

// An adapter that is there in half.
void refuse_half(const Checkpoint& checkpoint, const std::string& folder, std::string name) {
  const auto at = name.find(".lora_");
  if (at == std::string::npos) return;
  char& half = name[at + std::string_view(".lora_").size()];
  half = half == 'A' ? 'B' : 'A';
  if (checkpoint.find(name)) throw ConfigError(fmt::format("{}: {} has no other half", folder, name));
}

}  // namespace

void read_pretrained_settings(const std::string& folder, DecoderOptions& options) {
  const std::string file = path_in(folder, "config.json");
  const nlohmann::json json = read_object(file);
  options.norm_epsilon = number(json, file, "", "rms_norm_eps");
  options.rope = read_rope(json, file);
  if (exists(folder, kAdapterSettings)) read_adapter_settings(folder, options);
}

void load_pretrained_weights(const std::string& folder, Decoder& model) {
  const Checkpoint checkpoint(folder);
  refuse_unknown_parts(checkpoint, model);
  for (const Decoder::WeightName& wanted : model.weight_names()) {
    const Checkpoint::Entry* entry = checkpoint.find(wanted.name);
    if (!entry && wanted.adapter) {
      refuse_half(checkpoint, folder, wanted.name);
      continue;
    }
    if (!entry) throw ConfigError(fmt::format("{}: no file has the tensor {}", folder, wanted.name));
    if (wanted.adapter && !exists(folder, kAdapterSettings)) {
      throw ConfigError(fmt::format("{}: has adapters ({}) without {}, which says how they count", folder, entry->name,
                                    kAdapterSettings));
    }
    const std::vector<std::int64_t>& shape = entry->tensor().shape;
    if (shape != wanted.shape) {
      throw ConfigError(fmt::format("{}: tensor {}: shape [{}]; expected [{}]", entry->file->path(), entry->name,
                                    fmt::join(shape, ", "), fmt::join(wanted.shape, ", ")));
    }
    model.set_named_weight({wanted.name, wanted.shape, read_finite(*entry)});
  }
}

}  // namespace alchemist

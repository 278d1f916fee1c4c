#include "sim/app/model_config.h"

#include <fmt/format.h>

#include <filesystem>
#include <limits>

#include "sim/app/config_paths.h"

namespace alchemist {

namespace {

namespace fs = std::filesystem;

// Upper limits keep every product of them within 64 bits; no published model comes near.
constexpr std::int64_t kMaxLayers = 1024;
constexpr std::int64_t kMaxHidden = 1 << 17;
constexpr std::int64_t kMaxIntermediate = 1 << 20;
constexpr std::int64_t kMaxHeads = 4096;
constexpr std::int64_t kMaxHeadDim = 4096;
constexpr std::int64_t kMaxVocabulary = 1 << 24;
constexpr std::int64_t kMaxPosition = 1 << 30;
constexpr std::int64_t kMaxExperts = 4096;

// A present key that is not null: config.json writes null for "none".
std::optional<YamlValue> given(YamlMap& map, const std::string& key) {
  std::optional<YamlValue> value = map.optional(key);
  if (value && value->node().IsNull()) return std::nullopt;
  return value;
}

// Head width and agreement of the parts, common to both formats.
void check_shape(const YamlValue& value, const ModelShape& model) {
  if (model.heads % model.kv_heads != 0)
    value.fail("expected query heads (" + std::to_string(model.heads) + ") to be a multiple of key/value heads (" +
               std::to_string(model.kv_heads) + ")");
  if (model.head_dim % 2 != 0)
    value.fail("expected an even head width (rotary embedding turns pairs), got " + std::to_string(model.head_dim));
  if ((model.experts == 0) != (model.experts_per_token == 0))
    value.fail("expected experts and experts_per_token, or neither of them");
  if (model.experts_per_token > model.experts)
    value.fail("expected experts_per_token (" + std::to_string(model.experts_per_token) + ") to be at most experts (" +
               std::to_string(model.experts) + ")");
}

std::int64_t default_head_dim(const YamlValue& value, const ModelShape& model) {
  if (model.hidden % model.heads != 0)
    value.fail("expected hidden (" + std::to_string(model.hidden) + ") to be a multiple of heads (" +
               std::to_string(model.heads) + ") where head_dim is not given");
  return model.hidden / model.heads;
}

struct IntegerField {
  const char* key;
  std::int64_t ModelShape::*field;
  std::int64_t max;
};

constexpr IntegerField kRequired[] = {{"layers", &ModelShape::layers, kMaxLayers},
                                      {"hidden", &ModelShape::hidden, kMaxHidden},
                                      {"intermediate", &ModelShape::intermediate, kMaxIntermediate},
                                      {"heads", &ModelShape::heads, kMaxHeads},
                                      {"kv_heads", &ModelShape::kv_heads, kMaxHeads},
                                      {"vocabulary", &ModelShape::vocabulary, kMaxVocabulary},
                                      {"max_position", &ModelShape::max_position, kMaxPosition}};

ModelShape read_model(const YamlValue& value, int depth);

ModelShape read_own(const YamlValue& value, const std::string& default_name, int depth) {
  YamlMap map(value);
  ModelShape model;
  model.name = default_name;
  const std::optional<YamlValue> base = map.optional("base");
  if (base) model = read_model(*base, depth_below(*base, depth));
  if (auto name = map.optional("name")) model.name = name->as_name();
  for (const IntegerField& f : kRequired) {
    const std::optional<YamlValue> found = base ? map.optional(f.key) : map.required(f.key);
    if (found) model.*f.field = found->as_int(1, f.max);
  }
  if (auto found = map.optional("head_dim"))
    model.head_dim = found->as_int(1, kMaxHeadDim);
  else if (!base)
    model.head_dim = default_head_dim(value, model);
  if (auto found = map.optional("qkv_bias")) model.qkv_bias = found->as_bool();
  if (auto found = map.optional("qk_norm")) model.qk_norm = found->as_bool();
  if (auto found = map.optional("experts")) model.experts = found->as_int(0, kMaxExperts);
  if (auto found = map.optional("experts_per_token")) model.experts_per_token = found->as_int(0, kMaxExperts);
  if (auto found = map.optional("tied_embeddings")) model.tied_embeddings = found->as_bool();
  if (auto found = map.optional("dtype_bytes")) {
    model.dtype_bytes = found->as_int(1, 8);
    if (model.dtype_bytes != 2 && model.dtype_bytes != 4) found->fail("expected 2 (bf16, f16) or 4 (f32)");
  }
  map.finish();
  check_shape(value, model);
  return model;
}

bool is_mixture(const std::string& model_type) { return model_type == "mixtral" || model_type == "qwen3_moe"; }

// Refuses what the layer graph does not describe.
void check_family(YamlMap& map) {
  const YamlValue type = map.required("model_type");
  const std::string name = type.as_string();
  if (name != "llama" && name != "mistral" && name != "qwen2" && name != "qwen3" && !is_mixture(name))
    type.fail("model_type \"" + name +
              "\" is not supported: expected llama, mistral, qwen2, qwen3, mixtral or qwen3_moe");
  for (const char* key : {"num_local_experts", "num_experts", "n_routed_experts"}) {
    if (auto found = given(map, key); found && !is_mixture(name))
      found->fail("experts of a " + name + " are not supported: expected mixtral or qwen3_moe as the model_type");
  }
  if (auto found = given(map, "quantization_config")) found->fail("quantised weights are not supported");
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    if (auto found = given(map, key); found && found->as_bool())
      found->fail("biases other than those of Qwen2 (q, k, v) are not supported");
  }
  if (auto found = given(map, "hidden_act"); found && found->as_string() != "silu")
    found->fail("expected silu, the activation of a gated MLP of this family, got \"" + found->as_string() + "\"");
}

std::string model_type(YamlMap& map) { return map.required("model_type").as_string(); }
bool is_type(YamlMap& map, const char* type) { return model_type(map) == type; }

// The window that limits attention in every or some layers, if there is one. Null is none; a file of Mistral or Qwen
// that leaves the key out means 4,096.
std::optional<std::int64_t> sliding_window(YamlMap& map) {
  constexpr std::int64_t kDefault = 4096;
  const std::optional<YamlValue> use = given(map, "use_sliding_window");
  if (use ? !use->as_bool() : model_type(map).starts_with("qwen")) return std::nullopt;
  const bool has_default = !is_type(map, "llama") && !is_type(map, "mixtral");
  if (!map.optional("sliding_window")) return has_default ? std::optional(kDefault) : std::nullopt;
  const std::optional<YamlValue> window = given(map, "sliding_window");
  return window ? std::optional(window->as_int(1, kMaxPosition)) : std::nullopt;
}

// As many as query heads where they are null; what a file means that leaves the key out depends on the family.
std::int64_t kv_heads(YamlMap& map, std::int64_t heads) {
  if (const auto found = given(map, "num_key_value_heads")) return found->as_int(1, kMaxHeads);
  if (map.optional("num_key_value_heads") || is_type(map, "llama")) return heads;
  if (is_type(map, "qwen3_moe")) return 4;
  return is_type(map, "mistral") || is_type(map, "mixtral") ? 8 : 32;
}

// Since version 5 transformers writes it as rope_parameters. Where a file has both, the old key holds, as there.
std::optional<YamlValue> rope_scaling(YamlMap& map) {
  const std::optional<YamlValue> scaling = given(map, "rope_scaling");
  return scaling && scaling->node().size() > 0 ? scaling : given(map, "rope_parameters");
}

// YaRN and its like serve `factor` times the positions that a model was trained with; max_position_embeddings is what
// it was trained with unless it says otherwise. Llama 3's scaling is contained in max_position_embeddings.
void extend_context(const YamlValue& scaling, ModelShape& model) {
  YamlMap map(scaling);
  std::optional<YamlValue> type = given(map, "rope_type");
  if (!type) type = given(map, "type");
  const std::string name = type ? type->as_string() : "";
  if (name != "yarn" && name != "linear" && name != "dynamic") return;
  const auto factor = map.required("factor");
  std::int64_t trained = model.max_position;
  if (auto original = given(map, "original_max_position_embeddings")) trained = original->as_int(1, kMaxPosition);
  const double extended = static_cast<double>(trained) * factor.as_number(1, 1024);
  if (extended > static_cast<double>(kMaxPosition)) factor.fail("gives more than 2^30 positions");
  model.max_position = std::max(model.max_position, static_cast<std::int64_t>(extended));
}

std::int64_t element_bytes(YamlMap& map) {
  std::optional<YamlValue> dtype = given(map, "torch_dtype");
  if (!dtype) dtype = given(map, "dtype");
  if (!dtype) return 2;
  const std::string name = dtype->as_string();
  if (name == "bfloat16" || name == "float16") return 2;
  if (name == "float32") return 4;
  dtype->fail("expected bfloat16, float16 or float32, got \"" + name + "\"");
}

// Every layer has the same experts and nothing else.
void read_experts(YamlMap& map, const std::string& model_type, ModelShape& model) {
  const bool mixtral = model_type == "mixtral";
  // Since version 5 transformers writes Mixtral's name for it whatever the family.
  const bool mixtrals_name = mixtral || (!map.optional("num_experts") && map.optional("num_local_experts"));
  model.experts = map.required(mixtrals_name ? "num_local_experts" : "num_experts").as_int(1, kMaxExperts);
  model.experts_per_token = map.required("num_experts_per_tok").as_int(1, kMaxExperts);
  if (mixtral) return;
  model.intermediate = map.required("moe_intermediate_size").as_int(1, kMaxIntermediate);
  if (auto step = given(map, "decoder_sparse_step"); step && step->as_int(0, kMaxLayers) != 1)
    step->fail("layers without experts are not supported: expected 1");
  if (auto dense = given(map, "mlp_only_layers"); dense && !dense->as_list().empty())
    dense->fail("layers without experts are not supported: expected none");
}

// Keys that say nothing about the shape are many and change with every release: unknown ones are ignored here.
ModelShape read_hugging_face(const YamlValue& value, const std::string& default_name) {
  YamlMap map(value);
  check_family(map);
  ModelShape model;
  model.name = default_name;
  model.layers = map.required("num_hidden_layers").as_int(1, kMaxLayers);
  model.hidden = map.required("hidden_size").as_int(1, kMaxHidden);
  model.intermediate = map.required("intermediate_size").as_int(1, kMaxIntermediate);
  model.heads = map.required("num_attention_heads").as_int(1, kMaxHeads);
  model.kv_heads = kv_heads(map, model.heads);
  if (const auto head_dim = given(map, "head_dim")) {
    model.head_dim = head_dim->as_int(1, kMaxHeadDim);
  } else {
    model.head_dim = is_type(map, "qwen3") ? 128 : default_head_dim(value, model);  // as that family's files mean it
  }
  model.vocabulary = map.required("vocab_size").as_int(1, kMaxVocabulary);
  model.max_position = map.required("max_position_embeddings").as_int(1, kMaxPosition);
  if (const auto scaling = rope_scaling(map)) extend_context(*scaling, model);
  if (const auto window = sliding_window(map)) model.max_position = std::min(model.max_position, *window);
  model.qkv_bias = is_type(map, "qwen2");
  model.qk_norm = model_type(map).starts_with("qwen3");
  if (is_mixture(model_type(map))) read_experts(map, model_type(map), model);
  const auto tied = given(map, "tie_word_embeddings");
  model.tied_embeddings = tied && tied->as_bool();
  model.dtype_bytes = element_bytes(map);
  check_shape(value, model);
  return model;
}

ModelShape read_model_file(const fs::path& path, int depth) {
  const YamlValue value = YamlValue::load(path.string());
  YamlMap map(value);
  if (!map.optional("model_type") && !map.optional("architectures"))
    return read_own(value, path.stem().string(), depth);
  // A config.json lies in a folder that bears the model's name.
  const bool usual_name = path.filename() == "config.json";
  const fs::path named = usual_name ? fs::absolute(path).lexically_normal().parent_path().filename() : path.stem();
  return read_hugging_face(value, named.string());
}

ModelShape read_model(const YamlValue& value, int depth) {
  if (!value.is_scalar()) return read_own(value, "inline", depth);
  return read_model_file(resolve_named("models", value), depth);
}

}  // namespace

ModelShape read_model(const YamlValue& value) { return read_model(value, kMostBases); }

ModelShape load_model(const std::string& name) {
  return read_model_file(resolve_config("models", name, {}), kMostBases);
}

std::optional<std::string> shape_difference(const ModelShape& model, const ModelShape& other) {
  const auto differs = [](const char* key, auto mine, auto others) {
    return fmt::format("{} is {}, and not {}", key, mine, others);
  };
  for (const IntegerField& f : kRequired) {
    if (f.field == &ModelShape::max_position || model.*f.field == other.*f.field) continue;
    return differs(f.key, model.*f.field, other.*f.field);
  }
  if (model.head_dim != other.head_dim) return differs("head_dim", model.head_dim, other.head_dim);
  if (model.qkv_bias != other.qkv_bias) return differs("qkv_bias", model.qkv_bias, other.qkv_bias);
  if (model.qk_norm != other.qk_norm) return differs("qk_norm", model.qk_norm, other.qk_norm);
  if (model.experts != other.experts) return differs("experts", model.experts, other.experts);
  if (model.tied_embeddings == other.tied_embeddings) return std::nullopt;
  return differs("tied_embeddings", model.tied_embeddings, other.tied_embeddings);
}

void emit_model(YAML::Emitter& out, const ModelShape& model) {
  out << YAML::BeginMap << YAML::Key << "name" << YAML::Value << model.name;
  for (const IntegerField& f : kRequired) out << YAML::Key << f.key << YAML::Value << model.*f.field;
  out << YAML::Key << "head_dim" << YAML::Value << model.head_dim;
  out << YAML::Key << "qkv_bias" << YAML::Value << model.qkv_bias;
  if (model.qk_norm) out << YAML::Key << "qk_norm" << YAML::Value << true;
  if (model.experts > 0) {
    out << YAML::Key << "experts" << YAML::Value << model.experts;
    out << YAML::Key << "experts_per_token" << YAML::Value << model.experts_per_token;
  }
  out << YAML::Key << "tied_embeddings" << YAML::Value << model.tied_embeddings;
  out << YAML::Key << "dtype_bytes" << YAML::Value << model.dtype_bytes << YAML::EndMap;
}

}  // namespace alchemist

// Model shapes in YAML, and HuggingFace config.json files of the same family.
#pragma once

#include <optional>
#include <string>

#include "sim/app/yaml_reader.h"
#include "sim/model/model_shape.h"

namespace alchemist {

// Reads the value of a `model` key: a built-in name, the path of a YAML file or of a HuggingFace config.json, or a
// mapping with the fields of ModelShape as keys. `base: NAME_OR_PATH` starts from another model. A config.json must be
// a decoder of the Llama family (model_type llama, mistral, qwen2 or qwen3; mixtral or qwen3_moe with experts in every
// layer); where attention is limited to a sliding window, max_position becomes that window: up to there it is the same
// as full attention. ConfigError for anything else and for shapes that contradict themselves.
ModelShape read_model(const YamlValue& value);

// The same for a name or path on the command line.
ModelShape load_model(const std::string& name);

// Where the weights of one model would not fit the other: "heads is 8, and not 4"; none if all of the shape but name,
// max_position and dtype_bytes is the same.
std::optional<std::string> shape_difference(const ModelShape& model, const ModelShape& other);

// Writes a mapping that read_model() reads back to the same shape.
void emit_model(YAML::Emitter& out, const ModelShape& model);

}  // namespace alchemist

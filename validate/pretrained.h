// A published model of the Llama family: a folder with config.json and its weights in safetensors files.
#pragma once

#include <string>

#include "validate/decoder.h"

namespace alchemist {

// What the forward needs from config.json beyond the shape: rope_theta, rope_scaling (none, or llama3; as
// rope_parameters, too) and rms_norm_eps; and from adapter_config.json, if the folder has one, lora_alpha. ConfigError,
// with file and key, for what is not there or not understood.
void read_pretrained_settings(const std::string& folder, DecoderOptions& options);

// All weights of the model, from model.safetensors, or from the files that model.safetensors.index.json names, or, with
// neither, from all *.safetensors files of the folder. Adapters are read if the folder has them (as PEFT writes them,
// in adapter_model.safetensors with adapter_config.json), and keep their starting values otherwise. ConfigError if a
// weight is missing, not finite, there twice or of another shape, and for parts of a decoder that the model does not
// have, such as biases or further layers.
void load_pretrained_weights(const std::string& folder, Decoder& model);

}  // namespace alchemist

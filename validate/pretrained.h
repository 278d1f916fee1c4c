// A published model of the Llama family: a folder with config.json and its weights in safetensors files.
#pragma once

#include <string>

#include "validate/decoder.h"

namespace alchemist {

// What the forward needs from config.json beyond the shape: rope_theta, rope_scaling (none, or llama3) and
// rms_norm_eps. ConfigError, with file and key, for what is not there or not understood.
void read_pretrained_settings(const std::string& folder, DecoderOptions& options);

// All weights of the model, from all *.safetensors files of the folder; tensors that the model does not have are passed
// over. Adapters are read if the folder has them (as PEFT names them), and keep their starting values otherwise.
// ConfigError if a weight is missing or has another shape.
void load_pretrained_weights(const std::string& folder, Decoder& model);

}  // namespace alchemist

// Before a run that is timed.
#pragma once

#include <cstdint>
#include <vector>

#include "validate/calibration.h"
#include "validate/decoder.h"

namespace alchemist {

// What is run, so that no request waits for libraries and kernels to be loaded.
struct WarmUp {
  CalibrationConfig sizes;                 // the largest of everything
  std::vector<StepCase> steps;             // of serving
  std::int32_t micro_batch_tokens = 0;     // of one micro-batch; 0: the model does not train
  std::vector<std::int32_t> layer_tokens;  // a layer of training of each of these sizes
};

// Steps and a micro-batch of several shapes. With a tile of more than one token, where libraries choose their kernels
// by size: decode steps of every size, and a layer of training for every multiple of the tile.
WarmUp warm_up_of(const DecoderOptions& options, std::int64_t tile);

// Runs warm_up_of() the model. Its arena must not be in use; weights stay as they are, gradients are zero.
void warm_up(Decoder& model, std::int64_t tile = 1);

}  // namespace alchemist

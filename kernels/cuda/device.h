// An NVIDIA GPU as a device.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace alchemist::cuda {

enum class AttentionBy {
  own,     // our kernels for every GPU
  hopper,  // ours with Hopper's warpgroup products where heads are 64 or 128 wide, of training and long prompts
  cudnn,   // cuDNN's in training where heads are 128 wide
};

// The GPU of this index; threads other than the caller's must have chosen it themselves unless it is 0. ConfigError,
// with a message for the user, if there is none, or no driver, or no cuBLAS, or no cuDNN or no Hopper where that is
// asked for.
std::unique_ptr<Device<BFloat16>> make_device(int index, AttentionBy attention = AttentionBy::own);

}  // namespace alchemist::cuda

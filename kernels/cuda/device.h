// An NVIDIA GPU as a device.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace alchemist::cuda {

enum class AttentionBy { own, cudnn };  // of training; serving's, over paged keys and values, is always our own

// The GPU of this index; threads other than the caller's must have chosen it themselves unless it is 0. ConfigError,
// with a message for the user, if there is none, or no driver, or no cuBLAS, or no cuDNN where that is asked for.
std::unique_ptr<Device<BFloat16>> make_device(int index, AttentionBy attention = AttentionBy::own);

}  // namespace alchemist::cuda

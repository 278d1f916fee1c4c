// An NVIDIA GPU as a device.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace alchemist::cuda {

// The GPU of this index; threads other than the caller's must have chosen it themselves unless it is 0. ConfigError,
// with a message for the user, if there is none, or no driver, or no cuBLAS.
std::unique_ptr<Device<BFloat16>> make_device(int index);

}  // namespace alchemist::cuda

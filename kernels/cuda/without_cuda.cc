// Compiled in place of everything else in this folder where there is no CUDA compiler.
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_failed.h"
#include "sim/base/error.h"

namespace alchemist::cuda {

std::unique_ptr<Device<BFloat16>> make_device(int, AttentionBy) {
  throw ConfigError("no CUDA device: this program was built without a CUDA compiler (nvcc)");
}

bool device_failed(const ConfigError&) { return false; }

}  // namespace alchemist::cuda

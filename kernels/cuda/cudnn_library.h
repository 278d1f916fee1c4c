// cuDNN, opened for its front end, which finds it through a variable of its own.
#pragma once

#include "kernels/cuda/library.h"

namespace alchemist::cuda {

// Opens it with the first call. ConfigError if it is not found.
const Library& open_cudnn();

}  // namespace alchemist::cuda

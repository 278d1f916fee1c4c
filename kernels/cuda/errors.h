// What a CUDA call answers, as the error that the command line reports: no device, too little memory, a device lost in
// the middle are the machine's, and the user's, to mend.
#pragma once

#include <cuda_runtime.h>

#include <string_view>

#include "sim/base/error.h"

namespace alchemist::cuda {

class DeviceError : public ConfigError {
 public:
  using ConfigError::ConfigError;
};

[[noreturn]] void throw_cuda_error(cudaError_t error, std::string_view doing);

// `doing` names what was tried.
inline void check_cuda(cudaError_t error, std::string_view doing) {
  if (error != cudaSuccess) [[unlikely]]
    throw_cuda_error(error, doing);
}

}  // namespace alchemist::cuda

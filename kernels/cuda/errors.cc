#include "kernels/cuda/errors.h"

#include <string>

#include "kernels/cuda/device_failed.h"

namespace alchemist::cuda {
namespace {

std::string_view advice(cudaError_t error) {
  switch (error) {
    case cudaErrorNoDevice:
      return "no CUDA device: this machine has no NVIDIA GPU that the driver can see";
    case cudaErrorInsufficientDriver:
      return "no CUDA device: there is no NVIDIA driver, or it is older than the CUDA 13 this program was built with";
    case cudaErrorMemoryAllocation:
      return "not enough memory";
    case cudaErrorNoKernelImageForDevice:
      return "the GPU is of a generation that the kernels were not compiled for (they are for sm_80, sm_86, sm_89, "
             "sm_90)";
    case cudaErrorDevicesUnavailable:
      return "the GPU is busy or is kept for another process";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorMisalignedAddress:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
      return "a kernel failed and the device is lost to this process";
    case cudaErrorECCUncorrectable:
    case cudaErrorUnknown:
      return "the device is lost";
    default:
      return "";
  }
}

}  // namespace

void throw_cuda_error(cudaError_t error, std::string_view doing) {
  const std::string call = std::string(cudaGetErrorName(error)) + ", " + cudaGetErrorString(error);
  const std::string_view known = advice(error);
  throw DeviceError("CUDA, " + std::string(doing) + ": " +
                    (known.empty() ? call : std::string(known) + " (" + call + ")"));
}

bool device_failed(const ConfigError& error) { return dynamic_cast<const DeviceError*>(&error) != nullptr; }

}  // namespace alchemist::cuda

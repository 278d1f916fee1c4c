#include "kernels/cuda/errors.h"

#include <string>

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
      return "the GPU is of a generation that the kernels were not compiled for (they are for sm_80, sm_86, sm_89, sm_90)";
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
  std::string text("CUDA, ");
  text.append(doing).append(": ");
  if (const std::string_view known = advice(error); !known.empty()) text.append(known).append(" (");
  text.append(cudaGetErrorName(error)).append(": ").append(cudaGetErrorString(error));
  if (text.find(" (") != std::string::npos && !advice(error).empty()) text.append(")");
  throw DeviceError(text);
}

}  // namespace alchemist::cuda

#include "validate/real_model.h"

#include <fmt/format.h>

#include "kernels/cpu/device.h"
#include "sim/base/error.h"

namespace alchemist {

const std::map<std::string, DeviceKind>& device_kinds() {
  static const std::map<std::string, DeviceKind> kinds = {{"cpu", DeviceKind::cpu},
                                                          {"cuda", DeviceKind::cuda},
                                                          {"cuda-hopper", DeviceKind::cuda_hopper},
                                                          {"cuda-cudnn", DeviceKind::cuda_cudnn}};
  return kinds;
}

cuda::AttentionBy attention_by(DeviceKind kind) {
  if (kind == DeviceKind::cuda_cudnn) return cuda::AttentionBy::cudnn;
  return kind == DeviceKind::cuda_hopper ? cuda::AttentionBy::hopper : cuda::AttentionBy::own;
}

RealModel::RealModel(DeviceKind kind, const DecoderOptions& options, std::int64_t memory_bytes) {
  if (options.shape.experts > 0) {
    throw ConfigError(
        fmt::format("model {}: experts are not computed by the kernels, only simulated; expected a dense model",
                    options.shape.name));
  }
  if (kind == DeviceKind::cpu) {
    take(cpu::make_device<float>(memory_bytes), 4, options);
  } else {
    take(cuda::make_device(0, attention_by(kind)), 2, options);
  }
}

template <class T>
void RealModel::take(std::unique_ptr<Device<T>> device, std::int64_t element_bytes, const DecoderOptions& options) {
  if (options.shape.dtype_bytes != element_bytes) {
    throw ConfigError(
        fmt::format("model {}: its elements have {} bytes, but this device computes in elements of {}; "
                    "expected a model with dtype_bytes: {}, such as tiny",
                    options.shape.name, options.shape.dtype_bytes, element_bytes, element_bytes));
  }
  description_ = device->description();
  decoder_ = make_decoder(*device, options);
  device_ = std::move(device);
}

}  // namespace alchemist

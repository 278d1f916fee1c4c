#include "validate/real_model.h"

#include <fmt/format.h>

#include "kernels/cpu/device.h"
#include "kernels/cuda/device.h"
#include "sim/base/error.h"

namespace alchemist {

RealModel::RealModel(DeviceKind kind, const DecoderOptions& options, std::int64_t memory_bytes) {
  if (kind == DeviceKind::cuda) {
    take(cuda::make_device(0), 2, options);
  } else {
    take(cpu::make_device<float>(memory_bytes), 4, options);
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

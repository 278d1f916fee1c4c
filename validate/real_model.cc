#include "validate/real_model.h"

#include <fmt/format.h>

#include "kernels/cpu/device.h"
#include "sim/base/error.h"

namespace alchemist {

RealModel::RealModel(DeviceKind kind, const DecoderOptions& options, std::int64_t memory_bytes) {
  if (kind == DeviceKind::cuda) throw ConfigError("no CUDA device: this program was built without CUDA");
  if (options.shape.dtype_bytes != 4) {
    throw ConfigError(
        fmt::format("model {}: its elements have {} bytes, but a CPU computes in f32; expected a model "
                    "with dtype_bytes 4, such as tiny",
                    options.shape.name, options.shape.dtype_bytes));
  }
  auto device = cpu::make_device<float>(memory_bytes);
  description_ = device->description();
  decoder_ = make_decoder(*device, options);
  device_ = std::move(device);
}

}  // namespace alchemist

// The CPU as a device: "device" memory and "host" memory are two sets of allocations with real copies between them.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace alchemist::cpu {

// `memory_bytes`: what may be allocated as device memory; more is a ConfigError, as on a GPU that is full.
template <class T>
std::unique_ptr<Device<T>> make_device(std::int64_t memory_bytes);

extern template std::unique_ptr<Device<float>> make_device(std::int64_t memory_bytes);
extern template std::unique_ptr<Device<double>> make_device(std::int64_t memory_bytes);

}  // namespace alchemist::cpu

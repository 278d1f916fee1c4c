// Device memory filled with random numbers, for benchmarks: zeros would run faster than data do.
#pragma once

#include <algorithm>
#include <bit>
#include <memory>
#include <vector>

#include "kernels/device.h"
#include "sim/base/random.h"
#include "validate/device_array.h"

namespace alchemist::benchmarks {

// Holds what the calls of a benchmark point at.
template <class T>
class Arrays {
 public:
  explicit Arrays(Device<T>& device) : device_(device) {
    RandomStream random(1, "benchmark");
    for (float& value : noise_) value = static_cast<float>(random.normal());
  }

  Device<T>& device() { return device_; }

  template <class Element = T>
  Element* random(std::int64_t count) {
    std::vector<Element> block(noise_.size());
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = element<Element>(noise_[i]);
    Element* data = empty<Element>(count);
    for (std::int64_t done = 0; done < count; done += static_cast<std::int64_t>(block.size())) {
      const std::int64_t part = std::min(static_cast<std::int64_t>(block.size()), count - done);
      device_.upload(data + done, block.data(), part * static_cast<std::int64_t>(sizeof(Element)));
    }
    return data;
  }
  Accumulator<T>* random_accumulators(std::int64_t count) { return random<Accumulator<T>>(count); }

  template <class Element = T>
  Element* empty(std::int64_t count) {
    auto array = std::make_shared<DeviceArray<Element>>(device_, count);
    held_.push_back(array);
    return array->data();
  }

  template <class Element>
  Element* plain(const std::vector<Element>& values) {
    Element* data = empty<Element>(static_cast<std::int64_t>(values.size()));
    device_.upload(data, values.data(), static_cast<std::int64_t>(values.size() * sizeof(Element)));
    return data;
  }

  // Frees everything.
  void clear() {
    device_.synchronise();
    held_.clear();
  }

 private:
  template <class Element>
  static Element element(float value) {
    if constexpr (std::is_same_v<Element, BFloat16>) {
      return {static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16)};  // any rounding will do
    } else {
      return static_cast<Element>(value);
    }
  }

  Device<T>& device_;
  std::vector<float> noise_ = std::vector<float>(std::size_t{1} << 20);
  std::vector<std::shared_ptr<void>> held_;
};

}  // namespace alchemist::benchmarks

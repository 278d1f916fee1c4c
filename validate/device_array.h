// An array in device memory that is freed with its owner.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernels/device.h"

namespace alchemist {

template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(DeviceMemory& device, std::int64_t count)
      : device_(&device), data_(static_cast<T*>(device.allocate(count * sizeof(T)))), count_(count) {}
  DeviceArray(DeviceArray&& other) noexcept
      : device_(other.device_), data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~DeviceArray() {
    if (data_) device_->free(data_);
  }

  T* data() const { return data_; }
  std::int64_t size() const { return count_; }
  std::int64_t bytes() const { return count_ * static_cast<std::int64_t>(sizeof(T)); }

  void fill_zero() { device_->fill_zero(data_, bytes()); }
  void upload(std::span<const T> values) {
    device_->upload(data_, values.data(), static_cast<std::int64_t>(values.size_bytes()));
  }
  std::vector<T> download() const {
    std::vector<T> values(static_cast<std::size_t>(count_));
    device_->download(values.data(), data_, bytes());
    return values;
  }

 private:
  DeviceMemory* device_ = nullptr;
  T* data_ = nullptr;
  std::int64_t count_ = 0;
};

}  // namespace alchemist

// Small tables that kernels read (tokens, positions, block tables, pages), uploaded for one call and gone with the
// next.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "validate/device_array.h"

namespace alchemist {

class MetadataBuffer {
 public:
  explicit MetadataBuffer(DeviceMemory& device) : device_(device) {}

  // What was uploaded before may be overwritten from now on: by uploads that run after the kernels that read it.
  void reset() {
    chunk_ = 0;
    used_ = 0;
    uploaded_.clear();
  }

  template <class E>
  const E* upload(std::span<const E> values) {
    const auto bytes = static_cast<std::int64_t>(values.size_bytes());
    void* to = take(bytes);
    device_.upload(to, values.data(), bytes);
    return static_cast<const E*>(to);
  }
  template <class E>
  const E* upload(const std::vector<E>& values) {
    return upload(std::span<const E>(values));
  }

  // As upload(), but a table that is given several times between two resets travels once.
  const std::int32_t* upload_once(std::span<const std::int32_t> table) {
    const auto [found, fresh] = uploaded_.try_emplace({table.data(), table.size()}, nullptr);
    if (fresh) found->second = upload(table);
    return found->second;
  }

 private:
  static constexpr std::int64_t kAlignment = 16;
  static constexpr std::int64_t kChunk = 1 << 18;

  void* take(std::int64_t bytes) {
    const std::int64_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    while (chunk_ < chunks_.size() && used_ + rounded > chunks_[chunk_].bytes()) {
      ++chunk_;
      used_ = 0;
    }
    if (chunk_ == chunks_.size()) chunks_.emplace_back(device_, std::max(kChunk, rounded));
    void* place = chunks_[chunk_].data() + used_;
    used_ += rounded;
    return place;
  }

  DeviceMemory& device_;
  std::vector<DeviceArray<std::byte>> chunks_;
  std::size_t chunk_ = 0;
  std::int64_t used_ = 0;  // of the current chunk
  std::map<std::pair<const std::int32_t*, std::size_t>, const std::int32_t*> uploaded_;
};

}  // namespace alchemist

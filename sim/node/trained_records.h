// Records whose own sample has been trained, on the GPU and on the host alone, each in the order in which they were
// trained: the first to go where memory is short.
#pragma once

#include <cstdint>
#include <map>

#include "sim/base/bytes.h"
#include "sim/base/check.h"
#include "sim/base/ids.h"

namespace alchemist {

class TrainedRecords {
 public:
  using InOrder = std::map<std::uint64_t, RecordId>;

  // Returns its place in the order.
  std::uint64_t add(RecordId id, std::int32_t gpu_pages, Bytes on_host) {
    gpu_pages > 0 ? insert_gpu(next_, id, gpu_pages) : insert_host(next_, id, on_host);
    return next_++;
  }
  // It gives its pages back and is on the host alone, with so many bytes, if any.
  void leave_gpu(std::uint64_t place, std::int32_t gpu_pages, Bytes on_host) {
    const RecordId id = on_gpu_.at(place);
    on_gpu_.erase(place);
    pages_ -= gpu_pages;
    insert_host(place, id, on_host);
  }
  // One without pages goes.
  void remove(std::uint64_t place, Bytes on_host) {
    check(on_host_.erase(place) == 1, "it has left the GPU");
    host_bytes_ -= on_host;
  }

  const InOrder& on_gpu() const { return on_gpu_; }
  const InOrder& on_host() const { return on_host_; }
  std::uint64_t ever() const { return next_; }  // so many were added
  std::size_t size() const { return on_gpu_.size() + on_host_.size(); }
  std::int32_t pages() const { return pages_; }     // of the GPU
  Bytes host_bytes() const { return host_bytes_; }  // of those on the host alone

 private:
  void insert_gpu(std::uint64_t place, RecordId id, std::int32_t pages) {
    on_gpu_.emplace(place, id);
    pages_ += pages;
  }
  void insert_host(std::uint64_t place, RecordId id, Bytes bytes) {
    on_host_.emplace(place, id);
    host_bytes_ += bytes;
  }

  InOrder on_gpu_, on_host_;
  std::int32_t pages_ = 0;
  Bytes host_bytes_;
  std::uint64_t next_ = 0;
};

}  // namespace alchemist

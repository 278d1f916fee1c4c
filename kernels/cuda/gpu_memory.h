// Memory of one GPU and its streams: one for kernels, one for each direction of the link.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/device.h"

namespace alchemist::cuda {

class GpuMemory {
 public:
  // Makes the GPU of this index the calling thread's. DeviceError if there is none or no driver.
  explicit GpuMemory(int index);
  ~GpuMemory();
  GpuMemory(const GpuMemory&) = delete;
  GpuMemory& operator=(const GpuMemory&) = delete;

  Stream stream() const { return kernels_; }
  int major() const;                // of its compute capability
  std::string description() const;  // name, compute capability, driver and runtime versions

  // As in DeviceMemory.
  std::int64_t usable_bytes() const;
  void* allocate(std::int64_t bytes);
  void free(void* device) noexcept;
  void* allocate_host(std::int64_t bytes);
  void free_host(void* host) noexcept;
  void fill_zero(void* device, std::int64_t bytes);
  void upload(void* device, const void* host, std::int64_t bytes);
  void download(void* host, const void* device, std::int64_t bytes);
  void link_copy(CopyDirection direction, void* to, const void* from, std::int64_t bytes);
  void link_wait(CopyDirection direction);
  void synchronise();
  double time(const std::function<void()>& work);

 private:
  // Uploads pass through pinned slots, so that the caller may reuse its memory at once and nobody waits for the stream
  // unless all slots are on their way.
  struct Slot {
    void* host = nullptr;
    cudaEvent_t copied = nullptr;
  };
  static constexpr std::size_t kSlotBytes = std::size_t{1} << 20;
  static constexpr std::size_t kSlots = 8;

  void open_streams();
  void close() noexcept;

  int index_;
  Stream kernels_ = nullptr;
  std::array<cudaEvent_t, 2> timed_{};  // begin and end of what time() times
  std::array<Stream, 2> link_{};        // by direction
  std::array<Slot, kSlots> slots_{};
  std::size_t next_slot_ = 0;
};

// Device memory of one owner that grows when more is asked for.
class Workspace {
 public:
  explicit Workspace(GpuMemory& memory) : memory_(memory) {}
  ~Workspace() { memory_.free(begin_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // At least so many bytes, until the next call.
  void* get(std::int64_t bytes);
  // Rises when the memory is another one.
  std::uint64_t generation() const { return generation_; }

 private:
  GpuMemory& memory_;
  void* begin_ = nullptr;
  std::int64_t bytes_ = 0;
  std::uint64_t generation_ = 0;
};

}  // namespace alchemist::cuda

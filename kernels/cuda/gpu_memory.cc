#include "kernels/cuda/gpu_memory.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/errors.h"

namespace alchemist::cuda {
namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::size_t as_size(std::int64_t bytes) { return static_cast<std::size_t>(bytes); }

}  // namespace

GpuMemory::GpuMemory(int index) : index_(index) {
  int count = 0;
  check_cuda(cudaGetDeviceCount(&count), "looking for a GPU");
  if (index >= count)
    throw DeviceError("CUDA device " + std::to_string(index) + " was asked for, but there are " +
                      std::to_string(count));
  // Who waits for the GPU sleeps.
  check_cuda(cudaInitDevice(index, cudaDeviceScheduleBlockingSync, cudaInitDeviceFlagsAreValid), "opening the GPU");
  check_cuda(cudaSetDevice(index), "opening the GPU");
  try {
    open_streams();
  } catch (...) {
    close();
    throw;
  }
}

GpuMemory::~GpuMemory() {
  cudaDeviceSynchronize();
  close();
}

void GpuMemory::open_streams() {
  check_cuda(cudaStreamCreateWithFlags(&kernels_, cudaStreamNonBlocking), "making a stream");
  for (Stream& stream : link_) check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  for (cudaEvent_t& event : timed_)
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventBlockingSync), "making an event");
  for (Slot& slot : slots_) {
    slot.host = allocate_host(kSlotBytes);
    check_cuda(cudaEventCreateWithFlags(&slot.copied, cudaEventDisableTiming | cudaEventBlockingSync),
               "making an event");
  }
}

void GpuMemory::close() noexcept {
  for (cudaEvent_t event : timed_)
    if (event != nullptr) cudaEventDestroy(event);
  for (Slot& slot : slots_) {
    if (slot.copied != nullptr) cudaEventDestroy(slot.copied);
    free_host(slot.host);
  }
  for (Stream stream : link_)
    if (stream != nullptr) cudaStreamDestroy(stream);
  if (kernels_ != nullptr) cudaStreamDestroy(kernels_);
}

std::string GpuMemory::description() const {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, index_), "reading the GPU's properties");
  int driver = 0, runtime = 0;
  check_cuda(cudaDriverGetVersion(&driver), "reading the driver's version");
  check_cuda(cudaRuntimeGetVersion(&runtime), "reading the runtime's version");
  return std::string(properties.name) + ", compute capability " + std::to_string(properties.major) + "." +
         std::to_string(properties.minor) + ", " + std::to_string(properties.multiProcessorCount) +
         " multiprocessors, driver for CUDA " + version_text(driver) + ", CUDA runtime " + version_text(runtime);
}

int GpuMemory::major() const {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, index_), "reading the GPU's properties");
  return properties.major;
}

std::int64_t GpuMemory::usable_bytes() const {
  std::size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "asking for free memory");
  return static_cast<std::int64_t>(free);
}

void* GpuMemory::allocate(std::int64_t bytes) {
  void* device = nullptr;
  const cudaError_t error = cudaMalloc(&device, as_size(std::max<std::int64_t>(bytes, 1)));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not sticky: the device goes on
    throw DeviceError("GPU memory is full: " + std::to_string(bytes) + " bytes wanted, " +
                      std::to_string(usable_bytes()) + " left");
  }
  check_cuda(error, "taking memory");
  return device;
}

void GpuMemory::free(void* device) noexcept { cudaFree(device); }

void* GpuMemory::allocate_host(std::int64_t bytes) {
  void* host = nullptr;
  const cudaError_t error = cudaHostAlloc(&host, as_size(std::max<std::int64_t>(bytes, 1)), cudaHostAllocPortable);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw DeviceError("no " + std::to_string(bytes) + " bytes of host memory can be pinned");
  }
  check_cuda(error, "pinning host memory");
  return host;
}

void GpuMemory::free_host(void* host) noexcept { cudaFreeHost(host); }

void GpuMemory::fill_zero(void* device, std::int64_t bytes) {
  check_cuda(cudaMemsetAsync(device, 0, as_size(bytes), kernels_), "clearing memory");
}

void GpuMemory::upload(void* device, const void* host, std::int64_t bytes) {
  for (std::size_t done = 0; done < as_size(bytes); done += kSlotBytes) {
    const std::size_t part = std::min(kSlotBytes, as_size(bytes) - done);
    const Slot& slot = slots_[next_slot_];
    next_slot_ = (next_slot_ + 1) % kSlots;
    check_cuda(cudaEventSynchronize(slot.copied), "waiting for an upload");
    std::memcpy(slot.host, static_cast<const std::byte*>(host) + done, part);
    check_cuda(
        cudaMemcpyAsync(static_cast<std::byte*>(device) + done, slot.host, part, cudaMemcpyHostToDevice, kernels_),
        "upload");
    check_cuda(cudaEventRecord(slot.copied, kernels_), "upload");
  }
}

void GpuMemory::download(void* host, const void* device, std::int64_t bytes) {
  check_cuda(cudaMemcpyAsync(host, device, as_size(bytes), cudaMemcpyDeviceToHost, kernels_), "download");
  synchronise();
}

void GpuMemory::link_copy(CopyDirection direction, void* to, const void* from, std::int64_t bytes) {
  check_cuda(cudaSetDevice(index_), "choosing the GPU");  // the caller may be a thread of its own
  const bool up = direction == CopyDirection::kHostToDevice;
  check_cuda(cudaMemcpyAsync(to, from, as_size(bytes), up ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost,
                             link_[static_cast<std::size_t>(direction)]),
             "copy over the link");
}

void GpuMemory::link_wait(CopyDirection direction) {
  check_cuda(cudaStreamSynchronize(link_[static_cast<std::size_t>(direction)]), "copy over the link");
}

void GpuMemory::synchronise() { check_cuda(cudaStreamSynchronize(kernels_), "waiting for kernels"); }

double GpuMemory::time(const std::function<void()>& work) {
  check_cuda(cudaEventRecord(timed_[0], kernels_), "timing");
  work();
  check_cuda(cudaEventRecord(timed_[1], kernels_), "timing");
  check_cuda(cudaEventSynchronize(timed_[1]), "timing");
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, timed_[0], timed_[1]), "timing");
  return 1e-3 * static_cast<double>(milliseconds);
}

void* Workspace::get(std::int64_t bytes) {
  if (bytes <= bytes_) return begin_;
  memory_.synchronise();  // kernels may still use the old one
  memory_.free(begin_);
  begin_ = nullptr;
  bytes_ = 0;
  ++generation_;  // also if there is no other memory: what was captured must not write to the old one
  begin_ = memory_.allocate(bytes);
  bytes_ = bytes;
  return begin_;
}

}  // namespace alchemist::cuda

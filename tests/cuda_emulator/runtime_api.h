// The calls of the CUDA runtime that the project makes, on host memory: device memory is the host's, filled with NaN
// when it is handed out; everything on a stream is done when the call returns, unless it is captured: then it is done,
// with the arguments that it had, whenever the graph is launched.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

struct CUstream_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = void*;
using cudaGraph_t = std::vector<std::function<void()>>*;
using cudaGraphExec_t = cudaGraph_t;

enum cudaError_t {
  cudaSuccess,
  cudaErrorMemoryAllocation,
  cudaErrorInsufficientDriver,
  cudaErrorNoDevice,
  cudaErrorNoKernelImageForDevice,
  cudaErrorDevicesUnavailable,
  cudaErrorIllegalAddress,
  cudaErrorLaunchFailure,
  cudaErrorMisalignedAddress,
  cudaErrorAssert,
  cudaErrorHardwareStackError,
  cudaErrorECCUncorrectable,
  cudaErrorUnknown,
  cudaErrorStreamCaptureUnsupported,
};
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
struct cudaDeviceProp {
  char name[256] = "CUDA emulator";
  int major = 0, minor = 0, multiProcessorCount = 1;
};
inline constexpr unsigned cudaDeviceScheduleBlockingSync = 4, cudaInitDeviceFlagsAreValid = 1,
                          cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaEventBlockingSync = 1,
                          cudaHostAllocPortable = 1;

namespace cuda_emulator {

// What the emulated machine has, and what it refuses, for tests of error messages.
struct Machine {
  int devices = 1;
  int major = 9;                                    // of its compute capability
  std::size_t memory_bytes = std::size_t{4} << 30;  // of one allocation
  cudaError_t fault = cudaSuccess;                  // what waiting for the device answers
  // What one multiprocessor can give a block at most.
  std::size_t most_shared_bytes() const { return std::size_t{major >= 9 ? 227U : 163U} << 10; }
};
Machine& machine();

// What is being captured; none: null.
inline cudaGraph_t captured = nullptr;
inline int launched_graphs = 0;

// Does what a stream is to do, or captures it.
inline void enqueue(std::function<void()> work) {
  if (captured) {
    captured->push_back(std::move(work));
  } else {
    work();
  }
}
// What a capture forbids.
inline cudaError_t outside_of_captures(cudaError_t answer) {
  return captured ? cudaErrorStreamCaptureUnsupported : answer;
}

}  // namespace cuda_emulator

inline const char* cudaGetErrorName(cudaError_t) { return "cudaError"; }
inline const char* cudaGetErrorString(cudaError_t) { return "emulated"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = cuda_emulator::machine().devices;
  return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}
inline cudaError_t cudaInitDevice(int, unsigned, unsigned) { return cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = cudaDeviceProp();
  properties->major = cuda_emulator::machine().major;
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = static_cast<int>(cuda_emulator::machine().most_shared_bytes());
  return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
inline cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
inline cudaError_t cudaDeviceSynchronize() { return cuda_emulator::machine().fault; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cuda_emulator::outside_of_captures(cuda_emulator::machine().fault);
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (cuda_emulator::captured) return cudaErrorStreamCaptureUnsupported;
  cuda_emulator::captured = new std::vector<std::function<void()>>;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = std::exchange(cuda_emulator::captured, nullptr);
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new std::vector<std::function<void()>>(*graph);
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return cudaGraphDestroy(exec); }
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
  ++cuda_emulator::launched_graphs;
  for (const std::function<void()>& work : *exec) work();
  return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 0;
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return cuda_emulator::outside_of_captures(cuda_emulator::machine().fault);
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = *total = cuda_emulator::machine().memory_bytes;
  return cudaSuccess;
}
inline cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  constexpr std::size_t kAlignment = 256;
  if (cuda_emulator::captured) return cudaErrorStreamCaptureUnsupported;
  if (bytes > cuda_emulator::machine().memory_bytes) return cudaErrorMemoryAllocation;
  *memory = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  std::memset(*memory, 0xff, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
inline cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) { return cudaMalloc(memory, bytes); }
inline cudaError_t cudaFreeHost(void* memory) { return cudaFree(memory); }
inline cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t) {
  cuda_emulator::enqueue([=] { std::memset(memory, value, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  cuda_emulator::enqueue([=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

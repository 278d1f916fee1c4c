// Calls captured in a CUDA graph: hundreds of small kernels start as one, where starting each would take the host
// longer than it takes the GPU.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <optional>

#include "kernels/cuda/gpu_memory.h"

namespace alchemist::cuda {

class CapturedCalls final : public RepeatedCalls {
 public:
  // Captures what is called on `stream`; the calls may use `workspace`. Both outlive this.
  CapturedCalls(Stream stream, const Workspace& workspace) : stream_(stream), workspace_(workspace) {}
  ~CapturedCalls() override;
  CapturedCalls(const CapturedCalls&) = delete;
  CapturedCalls& operator=(const CapturedCalls&) = delete;

  // The first time, and whenever the workspace has moved since, the calls are made as they are: that loads kernels and
  // takes memory, neither of which can be captured. The second time they are captured, and from then on replayed.
  // DeviceError if the device refuses.
  void run(const std::function<void()>& calls) override;

 private:
  void capture(const std::function<void()>& calls);
  void forget() noexcept;

  Stream stream_;
  const Workspace& workspace_;
  std::optional<std::uint64_t> ran_with_;  // generation of the workspace
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace alchemist::cuda

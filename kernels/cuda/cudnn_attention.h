// Attention of training by cuDNN, in the place of our own kernels, where cuDNN is. It needs cuDNN's C++ front end when
// this program is built and cuDNN itself, opened with the first device that asks for it, when it runs.
#pragma once

#include <memory>
#include <string>

#include "kernels/attention.h"
#include "kernels/cuda/gpu_memory.h"

namespace alchemist::cuda {

class CudnnAttention {
 public:
  // `memory` outlives it; calls run on its stream. ConfigError if this program was built without the front end, or if
  // cuDNN is not found.
  explicit CudnnAttention(GpuMemory& memory);
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  // As attention_forward() and attention_backward(), within bf16's rounding; `delta` is used by neither, and gradients
  // may differ in their last bits from run to run. The first call of a shape takes longer: cuDNN compiles its kernel.
  // DeviceError if cuDNN has none for this shape on this GPU.
  void run(const AttentionForward<BFloat16>& call);
  void run(const AttentionBackward<BFloat16>& call);

  // Whether cuDNN computes calls of this shape; none of the others may be run.
  static bool takes(const AttentionShape& shape);

  std::string version() const;  // "9.19.0 from /usr/lib/...", for provenance

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace alchemist::cuda

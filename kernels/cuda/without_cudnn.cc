// Compiled in place of cudnn_*.cc where cuDNN's header or its front end is missing.
#include "kernels/cuda/cudnn_attention.h"
#include "sim/base/error.h"

namespace alchemist::cuda {

struct CudnnAttention::Body {};

CudnnAttention::CudnnAttention(GpuMemory&) {
  throw ConfigError(
      "cuDNN's attention: this program was built without cuDNN's front end; expected cudnn.h and cudnn_frontend.h, "
      "which tools/get_cudnn_frontend fetches");
}
CudnnAttention::~CudnnAttention() = default;
void CudnnAttention::run(const AttentionForward<BFloat16>&) {}
void CudnnAttention::run(const AttentionBackward<BFloat16>&) {}
bool CudnnAttention::takes(const AttentionShape&) { return false; }
std::string CudnnAttention::version() const { return {}; }

}  // namespace alchemist::cuda

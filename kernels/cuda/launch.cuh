// Starts a kernel on a stream. Errors of the launch itself are thrown here; those of the kernel when somebody waits.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/errors.h"
#include "kernels/cuda/intrinsics.cuh"

namespace alchemist::cuda {

#ifdef __CUDACC__
template <typename... Parameters>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
            std::type_identity_t<Parameters>... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  constexpr std::size_t kSharedWithoutAsking = std::size_t{48} << 10;
  if (shared_bytes > kSharedWithoutAsking)
    check_cuda(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
        "shared memory of a kernel");
  kernel<<<grid, block, shared_bytes, stream>>>(arguments...);
  check_cuda(cudaGetLastError(), "start of a kernel");
}
#endif

inline unsigned blocks_for(std::int64_t items, std::int64_t per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

}  // namespace alchemist::cuda

// Stands in for CUDA's header of this name when kernel sources are compiled for the CPU: the keywords, the vector types
// and the calls that the project uses. Device memory is the host's, a stream is always idle.
#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <source_location>

#include "tests/cuda_emulator/block.h"

// Keywords mean nothing on a CPU.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

// Of the thread that runs now.
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

inline void __syncthreads(std::source_location where = std::source_location::current()) {
  cuda_emulator::Block::current().barrier(where);
}
inline void __syncwarp(std::source_location where = std::source_location::current()) {
  cuda_emulator::Block::current().warp_meet(
      nullptr, [](void* const*) {}, where);
}

using std::max;
using std::min;
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }

#include "tests/cuda_emulator/runtime_api.h"

namespace cuda_emulator {

// Of every launch from now on.
Options& options();

void launch(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel);

}  // namespace cuda_emulator

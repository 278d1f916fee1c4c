// Elements in device memory: bf16 as bits, and runs of eight of them in one access of 16 bytes.
#pragma once

#include "kernels/cuda/intrinsics.cuh"
#include "kernels/element.h"
#include "sim/base/check.h"

namespace alchemist::cuda {

__host__ __device__ inline const std::uint16_t* bits(const BFloat16* p) {
  return reinterpret_cast<const std::uint16_t*>(p);
}
__host__ __device__ inline std::uint16_t* bits(BFloat16* p) { return reinterpret_cast<std::uint16_t*>(p); }

inline constexpr int kRun = 8;

// What every kernel that reads whole runs asks of widths and strides.
inline void check_runs(std::int64_t elements, const char* what) { check(elements % kRun == 0, what); }

// Eight elements as they are stored.
__device__ __forceinline__ uint4 load_bits(const std::uint16_t* from) { return *reinterpret_cast<const uint4*>(from); }

__device__ __forceinline__ void unpack(float (&to)[kRun], uint4 packed) {
  const std::uint32_t pairs[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = unpack_bf16(pairs[i]);
    to[2 * i] = pair.x;
    to[2 * i + 1] = pair.y;
  }
}

__device__ __forceinline__ void load_run(float (&to)[kRun], const std::uint16_t* from) { unpack(to, load_bits(from)); }

__device__ __forceinline__ uint4 pack(const float (&from)[kRun]) {
  return {pack_bf16(from[0], from[1]), pack_bf16(from[2], from[3]), pack_bf16(from[4], from[5]),
          pack_bf16(from[6], from[7])};
}

__device__ __forceinline__ void store_run(std::uint16_t* to, const float (&from)[kRun]) { store_words(to, pack(from)); }

__device__ __forceinline__ void load_run(float (&to)[kRun], const float* from) {
  const float4 low = *reinterpret_cast<const float4*>(from), high = *reinterpret_cast<const float4*>(from + 4);
  to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
  to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}

__device__ __forceinline__ void store_run(float* to, const float (&from)[kRun]) {
  *reinterpret_cast<float4*>(to) = {from[0], from[1], from[2], from[3]};
  *reinterpret_cast<float4*>(to + 4) = {from[4], from[5], from[6], from[7]};
}

// The sum over the block's threads, in every thread and in the same order in each: lanes, then warps. `scratch` holds a
// float for each warp and is free again at the next barrier.
__device__ __forceinline__ float block_sum(float value, float* scratch) {
  value = lane_sum(value);
  const int warps = (static_cast<int>(blockDim.x) + 31) / 32;
  __syncthreads();  // a sum before this one may still be read
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = 0.0F;
  for (int warp = 0; warp < warps; ++warp) sum += scratch[warp];
  return sum;
}

__device__ __forceinline__ std::int64_t global_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

}  // namespace alchemist::cuda

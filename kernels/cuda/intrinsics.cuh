// The few instructions that CUDA C++ has no function for, each as the PTX manual defines it (sections on mma, ldmatrix,
// cp.async), and bf16 as its 16 bits. A compiler other than nvcc gets them from the header of whoever compiles
// the kernels for something that is no GPU.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__

namespace alchemist::cuda {

// The dynamic shared memory of the block, at a multiple of 1024 bytes; every kernel takes what it needs from here.
__device__ __forceinline__ std::byte* shared_memory() {
  extern __shared__ __align__(1024) unsigned char memory[];
  return reinterpret_cast<std::byte*>(memory);
}

// 2^x within 2 ulp; 0 for x = -infinity.
__device__ __forceinline__ float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ std::uint16_t round_to_bf16(float x) {
  std::uint16_t y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  std::uint32_t y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}

// Sixteen bytes to global memory in one access. Of the assignment of a uint4 the compiler makes four, where it has the
// words at different times; a warp then touches each of its sectors four times.
__device__ __forceinline__ void store_words(void* to, uint4 words) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};"
               :
               : "l"(to), "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w)
               : "memory");
}

__device__ __forceinline__ float shuffle_xor(float value, int mask) {
  return __shfl_xor_sync(0xffffffffU, value, mask);
}

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// Four 8x8 matrices of 16-bit elements: lane i names row i % 8 of matrix i / 8; register j of lane i gets elements
// 2 (i % 4) and the next of row i / 4 of matrix j.
__device__ __forceinline__ void ldmatrix(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// The same with each matrix transposed.
__device__ __forceinline__ void ldmatrix_transposed(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// d += a b, with a 16x16, b 16x8, bf16 operands and f32 sums. With g = lane / 4 and t = lane % 4: a[0], a[1] are rows
// g, g + 8 at columns 2t, 2t + 1, a[2], a[3] the same at columns + 8; b0 is column g at rows 2t, 2t + 1, b1 at rows +
// 8; d[0], d[1] are row g, columns 2t, 2t + 1, d[2], d[3] row g + 8.
__device__ __forceinline__ void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Sixteen bytes from global to shared memory, both aligned to 16, behind the thread's back; zeros if not `valid`.
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(shared_address(shared)), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}

// Closes a group of this thread's copies.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kInFlight of this thread's groups are on their way. Other threads' copies need a barrier as well.
template <int kInFlight>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" : : "n"(kInFlight) : "memory");
}

}  // namespace alchemist::cuda

#else
#include <cuda_emulator_intrinsics.h>
#endif

namespace alchemist::cuda {

inline constexpr float kLog2E = 1.4426950408889634F;  // exp(x) is exp2_approximate(x * kLog2E)
inline constexpr float kLn2 = 0.6931471805599453F;

__device__ __forceinline__ float from_bf16(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return value;
}

__device__ __forceinline__ float2 unpack_bf16(std::uint32_t pair) {
  return {from_bf16(static_cast<std::uint16_t>(pair)), from_bf16(static_cast<std::uint16_t>(pair >> 16))};
}

// The sum over a group of kLanes lanes (a power of two), in every lane of it and in the same order for all.
template <int kLanes = 32>
__device__ __forceinline__ float lane_sum(float value) {
#pragma unroll
  for (int mask = kLanes / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

template <int kLanes = 32>
__device__ __forceinline__ float lane_max(float value) {
#pragma unroll
  for (int mask = kLanes / 2; mask > 0; mask /= 2) value = fmaxf(value, shuffle_xor(value, mask));
  return value;
}

}  // namespace alchemist::cuda

// Products of a warpgroup (four warps) on Hopper's matrix units, as the PTX manual defines them in its sections on
// wgmma: operands in shared memory, or the left one in registers, sums in registers; they run behind the back of the
// threads that started them. Compiled for sm_90a alone; for other targets kernels that use them stop themselves.
#pragma once

#include "kernels/cuda/intrinsics.cuh"

namespace alchemist::cuda {

inline constexpr int kWarpgroupThreads = 128;

// How an operand lies in shared memory: along the product's sum (the way of a row-major left operand), or across it.
enum class Major : std::uint8_t { kAlongSum = 0, kAcrossSum = 1 };

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool kCompiledForHopper = false;
#else
inline constexpr bool kCompiledForHopper = true;
#endif

}  // namespace alchemist::cuda

#ifdef __CUDACC__

namespace alchemist::cuda {

// The value of the warp's first lane, which the compiler then knows to be the same for all.
__device__ __forceinline__ int same_in_warp(int value) { return __shfl_sync(0xffffffffU, value, 0); }

// Makes this thread's copies and stores that are done visible to products, of whichever thread, behind the next
// barrier.
__device__ __forceinline__ void fence_for_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Closes a group of products.
__device__ __forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

#define ALCHEMIST_REGISTERS_32                                                                                      \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31}"
#define ALCHEMIST_REGISTERS_64                                                                                      \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, "  \
  "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"
#define ALCHEMIST_PIECE(i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define ALCHEMIST_PIECES_8                                                                            \
  ALCHEMIST_PIECE(0), ALCHEMIST_PIECE(1), ALCHEMIST_PIECE(2), ALCHEMIST_PIECE(3), ALCHEMIST_PIECE(4), \
      ALCHEMIST_PIECE(5), ALCHEMIST_PIECE(6), ALCHEMIST_PIECE(7)
#define ALCHEMIST_PIECES_16                                                                             \
  ALCHEMIST_PIECES_8, ALCHEMIST_PIECE(8), ALCHEMIST_PIECE(9), ALCHEMIST_PIECE(10), ALCHEMIST_PIECE(11), \
      ALCHEMIST_PIECE(12), ALCHEMIST_PIECE(13), ALCHEMIST_PIECE(14), ALCHEMIST_PIECE(15)

// The compiler leaves what writes these registers before this place there, and what reads them behind it.
template <int kPieces>
__device__ __forceinline__ void hold(float (&d)[kPieces][4]) {
#pragma unroll
  for (int i = 0; i < kPieces; ++i) asm volatile("" : ALCHEMIST_PIECE(i)::"memory");
}
template <int kSteps>
__device__ __forceinline__ void hold(std::uint32_t (&a)[kSteps][4]) {
#pragma unroll
  for (int i = 0; i < kSteps; ++i)
    asm volatile("" : "+r"(a[i][0]), "+r"(a[i][1]), "+r"(a[i][2]), "+r"(a[i][3])::"memory");
}

// Before the first product after registers that products read or add to were written. `written`: those, unless a loop
// begins in between, named so that the compiler writes none of them behind the fence.
template <typename... Registers>
__device__ __forceinline__ void fence_registers(Registers&... written) {
  (hold(written), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// Waits until at most kInFlight groups of the warpgroup are on their way. `settled`: the sums of those that are not,
// named so that the compiler reads none of them before.
template <int kInFlight, int... kPieces>
__device__ __forceinline__ void wait_products(float (&... settled)[kPieces][4]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(kInFlight) : "memory");
  (hold(settled), ...);
}

// Keeps in front of the next wait what `never`, which must be false, was computed from. The assembler moves a wait up
// to the last branch, since nothing that threads compute meanwhile depends on it: without this one (nvcc 13.0) a whole
// softmax comes after the products that were to run behind it.
__device__ __forceinline__ void compute_before_wait(bool never) {
  if (__any_sync(0xffffffffU, never)) asm volatile("nanosleep.u32 1;" ::: "memory");
}

// d = a b, or d += a b: a 64x16 and b 16x(8 kPieces) bf16, named by descriptors (matrix_descriptor() below); d in the
// pieces of attention_tile.cuh, 16 rows a warp.
template <Major kLeft, Major kRight, bool kAdd, int kPieces>
__device__ __forceinline__ void start_product(float (&d)[kPieces][4], std::uint64_t a, std::uint64_t b) {
  static_assert(kPieces == 8 || kPieces == 16);
  if constexpr (kPieces == 8) {
    asm volatile("{.reg .pred add; setp.ne.b32 add, %34, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "  //
                 ALCHEMIST_REGISTERS_32 ", %32, %33, add, 1, 1, %35, %36;}"
                 : ALCHEMIST_PIECES_8
                 : "l"(a), "l"(b), "n"(int{kAdd}), "n"(static_cast<int>(kLeft)), "n"(static_cast<int>(kRight)));
  } else {
    asm volatile("{.reg .pred add; setp.ne.b32 add, %66, 0; wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "  //
                 ALCHEMIST_REGISTERS_64 ", %64, %65, add, 1, 1, %67, %68;}"
                 : ALCHEMIST_PIECES_16
                 : "l"(a), "l"(b), "n"(int{kAdd}), "n"(static_cast<int>(kLeft)), "n"(static_cast<int>(kRight)));
  }
}

// d += a b with the left operand in the registers of mma().
template <Major kRight, int kPieces>
__device__ __forceinline__ void start_product(float (&d)[kPieces][4], const std::uint32_t (&a)[4], std::uint64_t b) {
  static_assert(kPieces == 8 || kPieces == 16);
  if constexpr (kPieces == 8) {
    asm volatile("{.reg .pred add; setp.ne.b32 add, 1, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "  //
                 ALCHEMIST_REGISTERS_32 ", {%32, %33, %34, %35}, %36, add, 1, 1, %37;}"
                 : ALCHEMIST_PIECES_8
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(static_cast<int>(kRight)));
  } else {
    asm volatile("{.reg .pred add; setp.ne.b32 add, 1, 0; wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "  //
                 ALCHEMIST_REGISTERS_64 ", {%64, %65, %66, %67}, %68, add, 1, 1, %69;}"
                 : ALCHEMIST_PIECES_16
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(static_cast<int>(kRight)));
  }
}

#undef ALCHEMIST_PIECES_16
#undef ALCHEMIST_PIECES_8
#undef ALCHEMIST_PIECE
#undef ALCHEMIST_REGISTERS_64
#undef ALCHEMIST_REGISTERS_32

}  // namespace alchemist::cuda

#else
#include <cuda_emulator_hopper.h>
#endif

namespace alchemist::cuda {

// An operand in shared memory, swizzled in rows of 128 bytes: the 16-byte piece p of a row r lies at piece p ^ (r % 8),
// counted from a multiple of 1024 bytes. `first`: shared_address() of its first element. Groups of eight rows are
// `group_bytes` apart; where rows are longer than 128 bytes and lie across the sum, their next 128 bytes are
// `slab_bytes` further. The upper half is the same for all operands, so that it takes no registers.
__device__ __forceinline__ std::uint64_t matrix_descriptor(std::uint32_t first, std::uint32_t group_bytes,
                                                           std::uint32_t slab_bytes) {
  constexpr std::uint32_t kSwizzle128 = 1U << 30;
  const std::uint32_t low = (first & 0x3ffffU) >> 4 | slab_bytes >> 4 << 16;
  return std::uint64_t{kSwizzle128 | group_bytes >> 4} << 32 | low;
}

}  // namespace alchemist::cuda

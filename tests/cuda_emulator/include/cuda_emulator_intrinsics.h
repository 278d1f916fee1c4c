// The instructions of kernels/cuda/intrinsics.cuh, as the PTX manual defines them, for threads that are fibres.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

namespace alchemist::cuda {

using std::source_location;

template <typename... Parameters>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t,
            std::type_identity_t<Parameters>... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cuda_emulator::enqueue([=] { cuda_emulator::launch(grid, block, shared_bytes, [&] { kernel(arguments...); }); });
}

inline std::byte* shared_memory() { return cuda_emulator::Block::current().shared(); }

inline float exp2_approximate(float x) { return std::exp2(x); }

// Round to nearest even; NaN stays NaN.
inline std::uint16_t round_to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

inline std::uint32_t pack_bf16(float low, float high) {
  return std::uint32_t{round_to_bf16(low)} | std::uint32_t{round_to_bf16(high)} << 16;
}

inline void store_words(void* to, uint4 words) { *static_cast<uint4*>(to) = words; }

inline float shuffle_xor(float value, int mask, source_location where = source_location::current()) {
  struct Operands {
    float value;
    int mask;
    float result;
  } mine{value, mask, 0};
  cuda_emulator::Block::current().warp_meet(
      &mine,
      [](void* const* lanes) {
        for (int lane = 0; lane < cuda_emulator::kWarpSize; ++lane) {
          auto& to = *static_cast<Operands*>(lanes[lane]);
          to.result = static_cast<const Operands*>(lanes[lane ^ to.mask])->value;
        }
      },
      where);
  return mine.result;
}

// Lane i of each group of eight names a row of 16 bytes; register j of a lane holds two elements of matrix j.
inline void load_matrices(std::uint32_t (&registers)[4], const void* row, bool transposed, source_location where) {
  struct Operands {
    const void* row;
    bool transposed;
    std::uint32_t* registers;
  } mine{row, transposed, registers};
  cuda_emulator::Block::current().check_shared(row, 16, "ldmatrix");
  cuda_emulator::Block::current().warp_meet(
      &mine,
      [](void* const* lanes) {
        const auto element = [&](int matrix, int r, int c) {
          std::uint16_t value = 0;
          const auto& owner = *static_cast<const Operands*>(lanes[8 * matrix + r]);
          std::memcpy(&value, static_cast<const std::byte*>(owner.row) + 2 * c, 2);
          return std::uint32_t{value};
        };
        for (int lane = 0; lane < cuda_emulator::kWarpSize; ++lane) {
          const auto& to = *static_cast<const Operands*>(lanes[lane]);
          const int a = lane / 4, b = 2 * (lane % 4);
          for (int m = 0; m < 4; ++m) {
            to.registers[m] = to.transposed ? element(m, b, a) | element(m, b + 1, a) << 16
                                            : element(m, a, b) | element(m, a, b + 1) << 16;
          }
        }
      },
      where);
}
inline void ldmatrix(std::uint32_t (&registers)[4], const void* row,
                     source_location where = source_location::current()) {
  load_matrices(registers, row, false, where);
}
inline void ldmatrix_transposed(std::uint32_t (&registers)[4], const void* row,
                                source_location where = source_location::current()) {
  load_matrices(registers, row, true, where);
}

// d += a b: a 16x16 by rows, b 16x8 by columns, d 16x8; the order of the sum over k is left open by the hardware.
inline void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                source_location where = source_location::current()) {
  struct Operands {
    float* d;
    const std::uint32_t* a;
    std::uint32_t b[2];
  } mine{d, a, {b0, b1}};
  cuda_emulator::Block::current().warp_meet(
      &mine,
      [](void* const* lanes) {
        const auto half = [](std::uint32_t pair, int which) {
          return std::bit_cast<float>(which == 0 ? pair << 16 : pair & 0xffff0000U);
        };
        float left[16][16], right[16][8];
        for (int lane = 0; lane < cuda_emulator::kWarpSize; ++lane) {
          const auto& from = *static_cast<const Operands*>(lanes[lane]);
          const int g = lane / 4, t = 2 * (lane % 4);
          for (int e = 0; e < 2; ++e) {
            left[g][t + e] = half(from.a[0], e);
            left[g + 8][t + e] = half(from.a[1], e);
            left[g][t + 8 + e] = half(from.a[2], e);
            left[g + 8][t + 8 + e] = half(from.a[3], e);
            right[t + e][g] = half(from.b[0], e);
            right[t + 8 + e][g] = half(from.b[1], e);
          }
        }
        float product[16][8] = {};
        for (int i = 0; i < 16; ++i)
          for (int k = 0; k < 16; ++k)
            for (int j = 0; j < 8; ++j) product[i][j] += left[i][k] * right[k][j];
        for (int lane = 0; lane < cuda_emulator::kWarpSize; ++lane) {
          float* out = static_cast<const Operands*>(lanes[lane])->d;
          const int g = lane / 4, t = 2 * (lane % 4);
          for (int e = 0; e < 4; ++e) out[e] += product[g + (e >= 2 ? 8 : 0)][t + e % 2];
        }
      },
      where);
}

inline void copy_async(void* shared, const void* global, bool valid) {
  cuda_emulator::Block::current().copy_async(shared, global, 16, !valid);
}
inline void commit_copies() { cuda_emulator::Block::current().commit_copies(); }
template <int kInFlight>
void wait_copies() {
  cuda_emulator::Block::current().wait_copies(kInFlight);
}

}  // namespace alchemist::cuda

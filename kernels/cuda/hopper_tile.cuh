// Tiles in shared memory as the products of warpgroups read them, and products of tiles. A block has two warpgroups;
// each owns 64 rows of a result, 16 a warp, in the registers that attention_tile.cuh describes.
#pragma once

#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/hopper_intrinsics.cuh"

namespace alchemist::cuda {

inline constexpr int kHopperThreads = 2 * kWarpgroupThreads;
inline constexpr int kGroupRows = 64;               // of a warpgroup's result
inline constexpr int kHopperRows = 2 * kGroupRows;  // of a block's

// kRows rows of kDim elements, in slabs of 64 columns. At a multiple of 1024 bytes.
template <int kDim, int kRows>
struct SlabTile {
  static_assert(kDim % 64 == 0 && kRows % 8 == 0);
  static constexpr int kChunks = kDim / 8;
  static constexpr int kElements = kRows * kDim;
  static constexpr unsigned kRowBytes = 128, kGroupBytes = 8 * kRowBytes, kSlabBytes = kRows * kRowBytes;
  std::uint16_t* data;

  __device__ std::uint16_t* chunk(int row, int index) const {
    return data + (index / 8 * kRows + row) * 64 + ((index % 8 ^ (row & 7)) << 3);
  }
  // The operand whose sum runs over elements 16 step..16 step + 15 of rows from `row`, a multiple of 8, on.
  __device__ std::uint64_t along_rows(int row, int step) const {
    const std::uint32_t offset = step / 4 * kSlabBytes + static_cast<unsigned>(row) * kRowBytes + step % 4 * 32;
    return matrix_descriptor(shared_address(data) + offset, kGroupBytes, 0);
  }
  // The operand whose sum runs over rows 16 step..16 step + 15, of all their elements.
  __device__ std::uint64_t across_rows(int step) const {
    return matrix_descriptor(shared_address(data) + step * 2 * kGroupBytes, kGroupBytes, kSlabBytes);
  }
};

// The block's shared memory. Stops the kernel where it does not begin at a multiple of 1024 bytes, for products would
// read other rows than copies wrote; nvcc leaves the check out, since it places that memory itself.
__device__ inline std::uint16_t* tile_memory() {
  auto* memory = reinterpret_cast<std::uint16_t*>(shared_memory());
  if (shared_address(memory) % 1024 != 0) __trap();
  return memory;
}

// result[64][kRight] = rows row..row + 63 of `left` times the transpose of `right`: a dot product over kDim for each
// pair of rows.
template <int kDim, int kLeft, int kRight>
__device__ __forceinline__ void start_transposed(float (&result)[kRight / 8][4], SlabTile<kDim, kLeft> left, int row,
                                                 SlabTile<kDim, kRight> right) {
  constexpr Major kAlong = Major::kAlongSum;
  start_product<kAlong, kAlong, false>(result, left.along_rows(row, 0), right.along_rows(0, 0));
#pragma unroll
  for (int step = 1; step < kDim / 16; ++step)
    start_product<kAlong, kAlong, true>(result, left.along_rows(row, step), right.along_rows(0, step));
}

// sum[64][kDim] += weights[64][kRows] times `right`.
template <int kDim, int kRows>
__device__ __forceinline__ void start_weighted(float (&sum)[kDim / 8][4], const std::uint32_t (&weights)[kRows / 16][4],
                                               SlabTile<kDim, kRows> right) {
#pragma unroll
  for (int step = 0; step < kRows / 16; ++step)
    start_product<Major::kAcrossSum>(sum, weights[step], right.across_rows(step));
}

// A result as the left operand of the next product.
template <int kPieces>
__device__ __forceinline__ void as_left(std::uint32_t (&weights)[kPieces / 2][4], const float (&result)[kPieces][4]) {
#pragma unroll
  for (int step = 0; step < kPieces / 2; ++step) as_left(weights[step], result[2 * step], result[2 * step + 1]);
}

// Whether a sign is set, at an instruction for two values.
template <int kPieces>
__device__ __forceinline__ bool any_negative(const float (&values)[kPieces][4]) {
  std::uint32_t all = 0;
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      std::uint32_t bits;
      memcpy(&bits, &values[i][e], sizeof bits);
      all |= bits;
    }
  }
  return all >> 31 != 0;
}

// What all threads do before products read tiles that were copied: all but the kInFlight newest groups of copies.
template <int kInFlight>
__device__ __forceinline__ void wait_for_tiles() {
  wait_copies<kInFlight>();
  fence_for_products();
  __syncthreads();
}

}  // namespace alchemist::cuda

// What the attention kernels share: tiles of 16-bit rows in shared memory, their loads, and products of tiles on the
// matrix units. A block has four warps; each owns 16 (or twice 16) rows of a product's result and keeps them in
// registers, so that no partial result passes through shared memory.
//
// Registers of a 16x8 piece of a result, with g = lane / 4 and t = lane % 4: [0], [1] are row g at columns 2t, 2t + 1;
// [2], [3] are row g + 8.
#pragma once

#include <cmath>

#include "kernels/cuda/intrinsics.cuh"

namespace alchemist::cuda {

inline constexpr int kTileThreads = 128;  // four warps
inline constexpr int kTileRows = 64;      // keys, or queries, of a tile

inline float attention_scale(int head_dim) { return 1.0F / std::sqrt(static_cast<float>(head_dim)); }

// Rows of kDim elements. Pieces of 16 bytes are permuted within a row, by the row, so that the eight rows that one
// ldmatrix reads lie in different banks.
template <int kDim>
struct Tile {
  static_assert(kDim % 32 == 0);
  static constexpr int kChunks = kDim / 8;
  std::uint16_t* data;

  __device__ std::uint16_t* chunk(int row, int index) const {
    const int turn = kChunks >= 8 ? row & 7 : (row >> 1) & (kChunks - 1);
    return data + row * kDim + ((index ^ turn) << 3);
  }
};

// Rows of one head in a packed matrix of tokens.
struct HeadRows {
  const std::uint16_t* first;  // of token 0
  std::int64_t stride;         // elements between tokens

  __device__ const std::uint16_t* row(int token) const { return first + token * stride; }
};

// Rows of one key-value head in a cache of pages of `page_tokens` tokens. The page of a token is found by multiplying
// with ceil(2^32 / page_tokens), which is exact for token * page_tokens < 2^32: a division for every row would take as
// long as its share of the products.
struct PagedHeadRows {
  const std::uint16_t* first;  // of page 0
  const std::int32_t* table;   // page of each run of page_tokens tokens
  std::int64_t stride;         // elements between the tokens of a page
  std::int64_t page_stride;    // elements between pages
  int page_tokens;
  std::uint64_t reciprocal;

  __device__ PagedHeadRows(const std::uint16_t* first_, const std::int32_t* table_, std::int64_t stride_,
                           std::int64_t page_stride_, int page_tokens_)
      : first(first_),
        table(table_),
        stride(stride_),
        page_stride(page_stride_),
        page_tokens(page_tokens_),
        reciprocal(std::uint64_t{0xffffffffU / static_cast<unsigned>(page_tokens_)} + 1) {}

  __device__ std::int32_t page(int token) const { return table[run_of(token)]; }
  // Elements between page 0 and the token, which lies in `page`.
  __device__ std::int64_t offset(std::int32_t page, int token) const {
    return page * page_stride + (token - run_of(token) * page_tokens) * stride;
  }
  __device__ std::int64_t offset(int token) const { return offset(page(token), token); }

 private:
  __device__ int run_of(int token) const {
    return static_cast<int>(static_cast<std::uint64_t>(token) * reciprocal >> 32);
  }
};

// Issues the copies of rows begin..begin + kRows of a matrix; rows from `end` on are zeros.
template <int kRows, int kThreads = kTileThreads, typename AnyTile>
__device__ __forceinline__ void load_rows(AnyTile tile, const HeadRows& rows, int begin, int end) {
  constexpr int kChunks = AnyTile::kChunks;
  constexpr int kRowsAtOnce = kThreads / kChunks;
  static_assert(kRows % kRowsAtOnce == 0);
  const int index = static_cast<int>(threadIdx.x) % kChunks;
#pragma unroll
  for (int i = 0; i < kRows / kRowsAtOnce; ++i) {
    const int row = static_cast<int>(threadIdx.x) / kChunks + i * kRowsAtOnce;
    const bool valid = begin + row < end;
    copy_async(tile.chunk(row, index), valid ? rows.row(begin + row) + index * 8 : rows.first, valid);
  }
}

// The same of rows in pages. All are looked up before the first copy, so that these loads overlap; what lies behind the
// end is looked up as the last row, without a branch that each load would be waited for at. Precondition: end >= 1.
template <int kRows, int kThreads = kTileThreads, typename AnyTile>
__device__ __forceinline__ void load_rows(AnyTile tile, const PagedHeadRows& rows, int begin, int end) {
  constexpr int kChunks = AnyTile::kChunks;
  constexpr int kRowsAtOnce = kThreads / kChunks;
  static_assert(kRows % kRowsAtOnce == 0);
  const int index = static_cast<int>(threadIdx.x) % kChunks;
  const auto row_of = [](int i) { return static_cast<int>(threadIdx.x) / kChunks + i * kRowsAtOnce; };
  const auto token_of = [&](int i) { return min(begin + row_of(i), end - 1); };
  std::int32_t pages[kRows / kRowsAtOnce];
#pragma unroll
  for (int i = 0; i < kRows / kRowsAtOnce; ++i) pages[i] = rows.page(token_of(i));
#pragma unroll
  for (int i = 0; i < kRows / kRowsAtOnce; ++i) {
    copy_async(tile.chunk(row_of(i), index), rows.first + rows.offset(pages[i], token_of(i)) + index * 8,
               begin + row_of(i) < end);
  }
}

// The left operand of a product: rows row..row + 15 and elements 16 step..16 step + 15.
template <int kDim>
__device__ __forceinline__ void load_left(std::uint32_t (&a)[4], Tile<kDim> tile, int row, int step) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  ldmatrix(a, tile.chunk(row + lane % 16, 2 * step + lane / 16));
}

// The left operand made of a result: the two 16x8 pieces for elements 16 step..16 step + 15.
__device__ __forceinline__ void as_left(std::uint32_t (&a)[4], const float (&low)[4], const float (&high)[4]) {
  a[0] = pack_bf16(low[0], low[1]);
  a[1] = pack_bf16(low[2], low[3]);
  a[2] = pack_bf16(high[0], high[1]);
  a[3] = pack_bf16(high[2], high[3]);
}

// result[16 kTiles][64] += rows row..row + 16 kTiles - 1 of `left`, times the transpose of 64 rows of `right`: a dot
// product over kDim for each pair of rows.
template <int kDim, int kTiles>
__device__ __forceinline__ void multiply_transposed(float (&result)[kTiles][8][4], Tile<kDim> left, int row,
                                                    Tile<kDim> right) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  [[maybe_unused]] constexpr int kUnroll = kTiles == 1 ? 4 : 2;  // more would spill registers
#pragma unroll kUnroll
  for (int step = 0; step < kDim / 16; ++step) {
    std::uint32_t a[kTiles][4];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) load_left(a[m], left, row + 16 * m, step);
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      std::uint32_t b[4];
      ldmatrix(b, right.chunk(16 * n + lane / 16 * 8 + lane % 8, 2 * step + lane / 8 % 2));
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        mma(result[m][2 * n], a[m], b[0], b[1]);
        mma(result[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

// sum[16 kTiles][kDim] += weights[16 kTiles][64] times the 64 rows of `right`.
template <int kDim, int kTiles>
__device__ __forceinline__ void multiply(float (&sum)[kTiles][kDim / 8][4], const float (&weights)[kTiles][8][4],
                                         Tile<kDim> right) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    std::uint32_t a[kTiles][4];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) as_left(a[m], weights[m][2 * step], weights[m][2 * step + 1]);
#pragma unroll
    for (int n = 0; n < kDim / 16; ++n) {
      std::uint32_t b[4];
      ldmatrix_transposed(b, right.chunk(16 * step + lane % 16, 2 * n + lane / 16));
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        mma(sum[m][2 * n], a[m], b[0], b[1]);
        mma(sum[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

template <int kTiles, int kPieces>
__device__ __forceinline__ void set_zero(float (&result)[kTiles][kPieces][4]) {
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
#pragma unroll
    for (int n = 0; n < kPieces; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) result[m][n][e] = 0.0F;
    }
  }
}

// Scores of keys that a row does not see become -infinity. `diagonal`: the last key that the lane's first row sees,
// counted from the tile's first key.
template <int kTiles, int kPieces>
__device__ __forceinline__ void mask_scores(float (&scores)[kTiles][kPieces][4], int diagonal) {
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
#pragma unroll
    for (int n = 0; n < kPieces; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (8 * n + column + e % 2 > diagonal + 16 * m + e / 2 * 8) scores[m][n][e] = -INFINITY;
      }
    }
  }
}

// Writes 16 result rows, in bf16, to rows first..first + 15 of a packed matrix, those from `end` on left out. The
// tile's rows row..row + 15 must belong to this warp alone; they turn the registers' order into whole 16-byte pieces.
template <int kPieces, typename AnyTile>
__device__ __forceinline__ void store_rows(const float (&result)[kPieces][4], AnyTile tile, int row, std::uint16_t* to,
                                           std::int64_t stride, int first, int end) {
  constexpr int kChunks = AnyTile::kChunks;
  static_assert(kPieces == kChunks);
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int n = 0; n < kPieces; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      std::uint16_t* chunk = tile.chunk(row + lane / 4 + 8 * half, n);
      *reinterpret_cast<std::uint32_t*>(chunk + lane % 4 * 2) = pack_bf16(result[n][2 * half], result[n][2 * half + 1]);
    }
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kChunks / 2; ++i) {
    const int r = (lane + 32 * i) / kChunks;
    const int index = (lane + 32 * i) % kChunks;
    if (first + r >= end) continue;
    *reinterpret_cast<uint4*>(to + (first + r) * stride + index * 8) =
        *reinterpret_cast<const uint4*>(tile.chunk(row + r, index));
  }
}

}  // namespace alchemist::cuda

// Products of warpgroups: operands lie as the manual says, and the emulator catches what a GPU would answer with
// garbage.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "kernels/cuda/hopper_tile.cuh"
#include "kernels/cuda/launch.cuh"

namespace alchemist::cuda {
namespace {

using cuda_emulator::CopyTiming;
using cuda_emulator::EmulationError;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr int kDim = 128;
using OneTile = SlabTile<kDim, 64>;
constexpr std::size_t kTwoTiles = 2 * OneTile::kElements * sizeof(std::uint16_t);

enum class Mistake { kNone, kNoWait, kNoRegisterFence, kNoCopyFence, kFenceBeforeWait, kOverwritten };

struct alignas(16) Matrix {
  std::uint16_t values[64 * kDim];
};

OneTile tile(int index) { return {reinterpret_cast<std::uint16_t*>(shared_memory()) + index * OneTile::kElements}; }

// d = left times the transpose of right, or, `across`, the weights 1 at (i, i) and 2 at (i, i + 1) times right.
void multiply_rows(const Matrix* left, const Matrix* right, float* out, bool across, Mistake mistake) {
  load_rows<64>(tile(0), HeadRows{left->values, kDim}, 0, 64);
  load_rows<64>(tile(1), HeadRows{right->values, kDim}, 0, 64);
  commit_copies();
  if (mistake == Mistake::kFenceBeforeWait) fence_for_products();
  wait_copies<0>();
  if (mistake != Mistake::kNoCopyFence && mistake != Mistake::kFenceBeforeWait) fence_for_products();
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % 32, row = static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4;
  const auto write = [&](const auto& d, int columns) {
    for (int n = 0; n < columns / 8; ++n)
      for (int e = 0; e < 4; ++e) out[(row + e / 2 * 8) * columns + 8 * n + lane % 4 * 2 + e % 2] = d[n][e];
  };
  if (mistake != Mistake::kNoRegisterFence) fence_registers();
  if (across) {
    float d[kDim / 8][4] = {};
    std::uint32_t weights[4][4];
    const auto weight = [](int r, int c) { return r == c ? 1.0F : r + 1 == c ? 2.0F : 0.0F; };
    for (int step = 0; step < 4; ++step)
      for (int i = 0; i < 4; ++i) {
        const int r = row + i % 2 * 8, c = 16 * step + i / 2 * 8 + lane % 4 * 2;
        weights[step][i] = pack_bf16(weight(r, c), weight(r, c + 1));
      }
    start_weighted(d, weights, tile(1));
    commit_products();
    if (mistake != Mistake::kNoWait) wait_products<0>(d);
    write(d, kDim);
  } else {
    float d[8][4];
    start_transposed(d, tile(0), 0, tile(1));
    commit_products();
    if (mistake == Mistake::kOverwritten) *tile(1).chunk(63, 0) = round_to_bf16(NAN);
    if (mistake != Mistake::kNoWait) wait_products<0>(d);
    write(d, 64);
  }
}

class Warpgroups : public testing::TestWithParam<CopyTiming> {
 protected:
  // Small integers: sums are exact.
  Warpgroups() {
    cuda_emulator::options() = {.copies = GetParam(), .jitter = true, .seed = 1};
    for (int i = 0; i < 64 * kDim; ++i) {
      left.values[i] = round_to_bf16(static_cast<float>(i * 7 % 13 - 6));
      right.values[i] = round_to_bf16(static_cast<float>(i * 5 % 11 - 5));
    }
  }
  std::vector<float> run(bool across, Mistake mistake = Mistake::kNone) {
    std::vector<float> out(64 * kDim);
    launch(multiply_rows, dim3(1), dim3(kWarpgroupThreads), kTwoTiles, nullptr, &left, &right, out.data(), across,
           mistake);
    return out;
  }
  static bool has_nan(const std::vector<float>& values) {
    return std::any_of(values.begin(), values.end(), [](float x) { return std::isnan(x); });
  }
  Matrix left, right;
};
INSTANTIATE_TEST_SUITE_P(Timings, Warpgroups, testing::Values(CopyTiming::kDeferred, CopyTiming::kEager));

TEST_P(Warpgroups, MultiplyRowsByRows) {
  const std::vector<float> out = run(false);
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < 64; ++j) {
      float expected = 0;
      for (int k = 0; k < kDim; ++k)
        expected += from_bf16(left.values[i * kDim + k]) * from_bf16(right.values[j * kDim + k]);
      ASSERT_EQ(out[static_cast<std::size_t>(64 * i + j)], expected) << i << ", " << j;
    }
  }
}

TEST_P(Warpgroups, AddWeightedRows) {
  const std::vector<float> out = run(true);
  for (int i = 0; i < 64; ++i) {
    for (int c = 0; c < kDim; ++c) {
      const float next = i < 63 ? 2 * from_bf16(right.values[(i + 1) * kDim + c]) : 0;
      ASSERT_EQ(out[static_cast<std::size_t>(kDim * i + c)], from_bf16(right.values[i * kDim + c]) + next)
          << i << ", " << c;
    }
  }
}

TEST_P(Warpgroups, SumsThatNobodyWaitedForAreNaN) {
  EXPECT_FALSE(has_nan(run(false)));
  EXPECT_TRUE(has_nan(run(false, Mistake::kNoWait)));
  EXPECT_TRUE(has_nan(run(true, Mistake::kNoWait)));
}

TEST_P(Warpgroups, MissingFencesAreReported) {
  EXPECT_THAT([&] { run(false, Mistake::kNoRegisterFence); }, ThrowsMessage<EmulationError>(HasSubstr("wgmma.fence")));
  for (const Mistake mistake : {Mistake::kNoCopyFence, Mistake::kFenceBeforeWait}) {
    EXPECT_THAT([&] { run(false, mistake); }, ThrowsMessage<EmulationError>(HasSubstr("no fence and barrier")));
    EXPECT_THAT([&] { run(true, mistake); }, ThrowsMessage<EmulationError>(HasSubstr("no fence and barrier")));
  }
}

// Only where products read late can memory that changes in the meantime be seen.
TEST_P(Warpgroups, OperandsThatChangeInTheMeantimeAreSeen) {
  EXPECT_EQ(has_nan(run(false, Mistake::kOverwritten)), GetParam() == CopyTiming::kDeferred);
}

void look_for_signs(const float* values, bool* found) {
  float pieces[2][4];
  for (int i = 0; i < 8; ++i) pieces[i / 4][i % 4] = values[i];
  *found = any_negative(pieces);
  compute_before_wait(*found);
}

TEST_P(Warpgroups, WhatIsComputedBeforeAWaitHasNoSign) {
  float values[8] = {0, 1, INFINITY, 1e-40F, 2, 3, 4, 5};
  bool found = true;
  const auto look = [&] { launch(look_for_signs, dim3(1), dim3(kWarpgroupThreads), 0, nullptr, values, &found); };
  EXPECT_NO_THROW(look());
  EXPECT_FALSE(found);
  for (float& value : values) {
    const float positive = std::exchange(value, -1e-40F);
    EXPECT_THAT(look, ThrowsMessage<EmulationError>(HasSubstr("in front of a wait")));
    EXPECT_TRUE(found);
    value = positive;
  }
}

void name_operand(std::uint64_t descriptor) {
  float d[8][4] = {};
  fence_registers();
  start_product<Major::kAlongSum, Major::kAlongSum, true>(d, descriptor + threadIdx.x / 32, descriptor);
}

TEST_P(Warpgroups, OperandsThatNoProductCanReadAreReported) {
  const auto name = [](std::uint64_t descriptor, std::size_t bytes) {
    launch(name_operand, dim3(1), dim3(kWarpgroupThreads), bytes, nullptr, descriptor);
  };
  EXPECT_THAT([&] { name(matrix_descriptor(0, 1024, 0), kTwoTiles); },
              ThrowsMessage<EmulationError>(HasSubstr("name different operands")));
}

void name_one_operand(std::uint64_t descriptor) {
  float d[8][4] = {};
  fence_registers();
  start_product<Major::kAlongSum, Major::kAlongSum, true>(d, descriptor, descriptor);
}

TEST_P(Warpgroups, OperandsBeyondSharedMemoryAreReported) {
  const auto name = [](std::uint64_t descriptor, std::size_t bytes) {
    launch(name_one_operand, dim3(1), dim3(kWarpgroupThreads), bytes, nullptr, descriptor);
  };
  EXPECT_NO_THROW(name(matrix_descriptor(0, 1024, 0), kTwoTiles));
  EXPECT_THAT([&] { name(matrix_descriptor(0, 1024, 0), 7 * 1024); },
              ThrowsMessage<EmulationError>(HasSubstr("a product's operand at shared offset")));
  EXPECT_THAT([&] { name(matrix_descriptor(0, 1024, 0) ^ std::uint64_t{3} << 62, kTwoTiles); },
              ThrowsMessage<EmulationError>(HasSubstr("not swizzled by 128 bytes")));
}

}  // namespace
}  // namespace alchemist::cuda

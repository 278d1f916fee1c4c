// The emulator catches what it is there to catch: each kernel here has one mistake that a GPU would answer with wrong
// numbers or a hang. Beside each stands the sound one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cuda/launch.cuh"

namespace alchemist::cuda {
namespace {

using cuda_emulator::CopyTiming;
using cuda_emulator::EmulationError;

constexpr int kThreads = 64;

void use(CopyTiming timing, std::uint64_t seed = 1) {
  cuda_emulator::options() = {.copies = timing, .jitter = true, .seed = seed};
}

float* shared() { return reinterpret_cast<float*>(shared_memory()); }

// Each thread reads what its neighbour in the other warp wrote.
void exchange(float* out, bool with_barrier) {
  shared()[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (with_barrier) __syncthreads();
  out[threadIdx.x] = shared()[(threadIdx.x + 32) % kThreads];
}

std::vector<float> run_exchange(bool with_barrier) {
  std::vector<float> out(kThreads);
  launch(exchange, dim3(1), dim3(kThreads), kThreads * sizeof(float), nullptr, out.data(), with_barrier);
  return out;
}

TEST(Emulator, MissingBarrierIsSeenAsNaN) {
  use(CopyTiming::kDeferred);
  const std::vector<float> sound = run_exchange(true), broken = run_exchange(false);
  for (int i = 0; i < kThreads; ++i) EXPECT_EQ(sound[static_cast<std::size_t>(i)], (i + 32) % kThreads);
  EXPECT_TRUE(std::any_of(broken.begin(), broken.end(), [](float x) { return std::isnan(x); }));
}

struct alignas(16) Floats {
  float value[4 * kThreads];
};

// Each thread copies four floats and reads them back.
void copy_in(const Floats* from, float* out, bool wait) {
  copy_async(shared() + 4 * threadIdx.x, from->value + 4 * threadIdx.x, true);
  commit_copies();
  if (wait) wait_copies<0>();
  for (unsigned i = 4 * threadIdx.x; i < 4 * threadIdx.x + 4; ++i) out[i] = shared()[i];
}

TEST(Emulator, CopyThatNobodyWaitedForIsSeenAsNaN) {
  Floats from;
  std::iota(std::begin(from.value), std::end(from.value), 0.0F);
  std::vector<float> out(4 * kThreads);
  const auto run = [&](bool wait) {
    launch(copy_in, dim3(1), dim3(kThreads), sizeof(Floats), nullptr, &from, out.data(), wait);
  };
  use(CopyTiming::kDeferred);
  run(true);
  EXPECT_THAT(out, testing::ElementsAreArray(from.value));
  run(false);
  EXPECT_TRUE(std::isnan(out[0]));
}

// The first warp's copy overwrites what the second warp is to read: harmless only behind a barrier.
void overwrite(const Floats* from, float* out, bool with_barrier) {
  shared()[threadIdx.x % 32] = 7;
  __syncthreads();
  const float before = threadIdx.x >= 32 ? shared()[threadIdx.x % 32] : 7;
  out[threadIdx.x] = before;
  if (with_barrier) __syncthreads();
  if (threadIdx.x < 8) copy_async(shared() + 4 * threadIdx.x, from->value + 4 * threadIdx.x, true);
  commit_copies();
  wait_copies<0>();
}

TEST(Emulator, CopyOverMemoryThatIsStillReadIsSeenInSomeOrderOfWarps) {
  Floats from{};
  const auto wrong_in_some_order = [&](bool with_barrier) {
    bool wrong = false;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      use(CopyTiming::kEager, seed);
      std::vector<float> out(kThreads);
      launch(overwrite, dim3(1), dim3(kThreads), 32 * sizeof(float), nullptr, &from, out.data(), with_barrier);
      wrong |= std::any_of(out.begin(), out.end(), [](float x) { return x != 7; });
    }
    return wrong;
  };
  EXPECT_FALSE(wrong_in_some_order(true));
  EXPECT_TRUE(wrong_in_some_order(false));
}

void divergent_barrier(int) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

void leave_early(int) {
  if (threadIdx.x == 3) return;
  __syncthreads();
}

void divergent_shuffle(float* out) {
  if (threadIdx.x % 32 < 16) out[threadIdx.x] = shuffle_xor(1.0F, 1);
}

TEST(Emulator, ThreadsThatNeverMeetAreReported) {
  using testing::HasSubstr;
  using testing::ThrowsMessage;
  use(CopyTiming::kDeferred);
  std::vector<float> out(kThreads);
  EXPECT_THAT([] { launch(divergent_barrier, dim3(1), dim3(kThreads), 0, nullptr, 0); },
              ThrowsMessage<EmulationError>(HasSubstr("never meet: 32 at the barrier")));
  EXPECT_THAT([] { launch(leave_early, dim3(1), dim3(kThreads), 0, nullptr, 0); },
              ThrowsMessage<EmulationError>(HasSubstr("1 have left")));
  EXPECT_THAT([&] { launch(divergent_shuffle, dim3(1), dim3(kThreads), 0, nullptr, out.data()); },
              ThrowsMessage<EmulationError>(HasSubstr("in the warp operation")));
}

void copy_beyond(const Floats* from) { copy_async(shared() + 4 * kThreads, from->value, true); }
void load_misaligned(int) {
  std::uint32_t registers[4];
  ldmatrix(registers, shared() + 1);
}

TEST(Emulator, AddressesAreChecked) {
  use(CopyTiming::kDeferred);
  Floats from{};
  EXPECT_THROW(launch(copy_beyond, dim3(1), dim3(kThreads), sizeof(Floats), nullptr, &from), EmulationError);
  EXPECT_THROW(launch(load_misaligned, dim3(1), dim3(kThreads), sizeof(Floats), nullptr, 0), EmulationError);
}

// Rows 0..15 of a are r + 16 k in small integers, b is the identity beside zeros: d is the left half of a.
void multiply_by_identity(float* out) {
  auto* a = reinterpret_cast<std::uint16_t*>(shared_memory());
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) a[i] = round_to_bf16(static_cast<float>(i % 128));
  __syncwarp();
  std::uint32_t left[4];
  ldmatrix(left, a + lane % 16 * 16 + lane / 16 * 8);
  const int column = lane / 4, row = lane % 4 * 2;  // b0: rows row, row + 1 of the column
  const std::uint32_t one = pack_bf16(row == column ? 1 : 0, row + 1 == column ? 1 : 0);
  float d[4] = {};
  mma(d, left, one, 0);
  for (int e = 0; e < 4; ++e) out[(lane / 4 + e / 2 * 8) * 8 + lane % 4 * 2 + e % 2] = d[e];
}

TEST(Emulator, MatrixInstructionsFollowTheManualsLayout) {
  use(CopyTiming::kDeferred);
  std::vector<float> out(128);
  launch(multiply_by_identity, dim3(1), dim3(32), 512, nullptr, out.data());
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < 8; ++c) EXPECT_EQ(out[static_cast<std::size_t>(8 * r + c)], (16 * r + c) % 128);
}

}  // namespace
}  // namespace alchemist::cuda

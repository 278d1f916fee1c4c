// What surrounds cuDNN's attention: the arrays that tell it where sequences lie, and the sum of its gradients.
#include "kernels/cuda/cudnn_layout.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/cuda/device.h"
#include "tests/cuda_cases/bench.h"

namespace alchemist {
namespace {

using cuda::CudnnLayout;

// Two heads of 32 over one for keys; sequences of 5 queries behind 3 more keys, and of 2, in rows 1.. and 10.. of q and
// 4.. and 20.. of keys and values.
AttentionShape shape_of(const AttentionRows* rows) { return {2, 1, 32, rows, 2, 5, 8}; }
const std::vector<AttentionRows> kRows = {{1, 5, 4, 8}, {10, 2, 20, 2}};

TEST(CudnnLayout, TellsWhereSequencesLie) {
  const auto device = cuda::make_device(0);
  cases::Bench<BFloat16> bench(*device);
  const std::vector<std::int64_t> unset(static_cast<std::size_t>(CudnnLayout::bytes(2)) / 8, -1);
  const CudnnLayout layout(bench.plain(unset), 2);
  cuda::lay_out(shape_of(bench.plain(kRows)), {100, 80, 70}, layout, nullptr);
  const auto read = [&](const auto* array, std::size_t count) {
    std::vector<std::int64_t> values;
    std::vector<std::remove_cvref_t<decltype(*array)>> stored(count);
    device->download(stored.data(), array, static_cast<std::int64_t>(count * sizeof stored[0]));
    values.assign(stored.begin(), stored.end());
    return values;
  };
  using Values = std::vector<std::int64_t>;
  EXPECT_EQ(read(layout.queries, 2), (Values{5, 2}));
  EXPECT_EQ(read(layout.keys, 2), (Values{8, 2}));
  EXPECT_EQ(read(layout.q, 3), (Values{100, 1'000, 1'200}));
  EXPECT_EQ(read(layout.kv, 3), (Values{320, 1'600, 1'760}));
  EXPECT_EQ(read(layout.out, 3), (Values{64, 640, 768}));
  EXPECT_EQ(read(layout.lse, 3), (Values{2, 20, 24}));
  EXPECT_EQ(read(layout.d_q, 3), (Values{70, 700, 840}));
  EXPECT_EQ(read(layout.d_kv, 3), (Values{0, 256, 512}));
}

// Compact row r of sequence i is added to row key_begin + r; other rows stay as they are.
TEST(CudnnLayout, AddsCompactGradients) {
  const auto device = cuda::make_device(0);
  cases::Bench<BFloat16> bench(*device);
  const cases::Values compact = cases::normal_values(2 * 8 * 32, "compact"),
                      before = cases::normal_values(24 * 32, "d");
  float* d = bench.accumulators(before);
  cuda::add_compact(shape_of(bench.plain(kRows)), bench.storage(compact), d, nullptr);
  cases::Values expected = before;
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    for (int r = 0; r < kRows[i].keys; ++r) {
      for (int e = 0; e < 32; ++e) {
        auto& value = expected[static_cast<std::size_t>((kRows[i].key_begin + r) * 32 + e)];
        value = static_cast<float>(value) + static_cast<float>(compact[(i * 8 + static_cast<std::size_t>(r)) * 32 + e]);
      }
    }
  }
  EXPECT_EQ(bench.read(d, 24 * 32), expected);
}

}  // namespace
}  // namespace alchemist

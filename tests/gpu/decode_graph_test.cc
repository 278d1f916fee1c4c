// Decode steps replayed from CUDA graphs, on a GPU. Skips where there is none, unless ALCHEMIST_NEEDS_GPU is set.
#include <cstdlib>

#include "kernels/cuda/device.h"
#include "sim/base/error.h"
#include "tests/validate/repeated_decodes.h"

namespace alchemist {
namespace {

TEST(GpuDecodeGraph, TokensAreThoseOfStepsWithoutOne) {
  std::vector<std::int32_t> expected;
  try {
    expected = decode_requests(false, cuda::make_device(0));
  } catch (const ConfigError& error) {
    if (std::getenv("ALCHEMIST_NEEDS_GPU")) FAIL() << error.what();
    GTEST_SKIP() << error.what();
  }
  EXPECT_EQ(decode_requests(true, cuda::make_device(0)), expected);
}

}  // namespace
}  // namespace alchemist

// Decode steps replayed from CUDA graphs, on a GPU. Skips where there is none, unless ALCHEMIST_NEEDS_GPU is set.
#include <cstdlib>

#include "kernels/cuda/device.h"
#include "sim/base/error.h"
#include "tests/validate/repeated_decodes.h"

namespace alchemist {
namespace {

TEST(GpuDecodeGraph, TokensAndRecordsAreThoseOfStepsWithoutOne) {
  DecodedRequests expected;
  try {
    expected = decode_requests(false, true, cuda::make_device(0));
  } catch (const ConfigError& error) {
    if (std::getenv("ALCHEMIST_NEEDS_GPU")) FAIL() << error.what();
    GTEST_SKIP() << error.what();
  }
  const DecodedRequests repeated = decode_requests(true, true, cuda::make_device(0));
  EXPECT_EQ(repeated.tokens, expected.tokens);
  EXPECT_EQ(repeated.arena, expected.arena);
}

}  // namespace
}  // namespace alchemist

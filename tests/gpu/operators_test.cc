// Every CUDA kernel on a GPU against the CPU in double. Skips where there is no GPU, unless ALCHEMIST_NEEDS_GPU is set.
#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/cuda/device.h"
#include "kernels/cuda/device_failed.h"
#include "sim/base/error.h"
#include "tests/cuda_cases/bench.h"

namespace alchemist {
namespace {

class OnGpu : public testing::TestWithParam<cases::Case> {
 protected:
  void compare(cuda::AttentionBy attention) {
    std::unique_ptr<Device<BFloat16>> device;
    try {
      device = cuda::make_device(0, attention);
    } catch (const ConfigError& error) {
      // What this machine or this build does not have is no failure; a device that fails is.
      const bool failed = cuda::device_failed(error);
      if ((failed || attention == cuda::AttentionBy::own) && std::getenv("ALCHEMIST_NEEDS_GPU")) FAIL() << error.what();
      GTEST_SKIP() << error.what();
    }
    // cuDNN adds up gradients in any order.
    const bool any_order = attention == cuda::AttentionBy::cudnn;
    cases::expect_equal(
        GetParam(), *device, [] {}, any_order ? cases::Repeats::kWithinTolerance : cases::Repeats::kToTheBit);
  }
};

class GpuOperator : public OnGpu {};
TEST_P(GpuOperator, EqualsCpu) { compare(cuda::AttentionBy::own); }

class HopperAttention : public OnGpu {};
TEST_P(HopperAttention, EqualsCpu) { compare(cuda::AttentionBy::hopper); }

class CudnnAttention : public OnGpu {};
TEST_P(CudnnAttention, EqualsCpu) { compare(cuda::AttentionBy::cudnn); }

std::string name_of(const testing::TestParamInfo<cases::Case>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(All, GpuOperator, testing::ValuesIn(cases::all_cases(true)), name_of);
INSTANTIATE_TEST_SUITE_P(All, HopperAttention, testing::ValuesIn(cases::warpgroup_attention_cases(true)), name_of);
INSTANTIATE_TEST_SUITE_P(Paged, HopperAttention, testing::ValuesIn(cases::paged_prefill_cases(true)), name_of);
INSTANTIATE_TEST_SUITE_P(All, CudnnAttention, testing::ValuesIn(cases::attention_cases(true)), name_of);

}  // namespace
}  // namespace alchemist

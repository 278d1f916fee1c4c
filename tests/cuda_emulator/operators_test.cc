// Every CUDA kernel, unchanged, on the emulator against the CPU in double: with copies as late and as early as they may
// be, and with warps and lanes in random orders.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include "kernels/cuda/device.h"
#include "tests/cuda_cases/bench.h"

namespace alchemist {
namespace {

using cuda_emulator::CopyTiming;

class Emulated : public testing::TestWithParam<std::tuple<cases::Case, CopyTiming>> {
 protected:
  static void compare(cuda::AttentionBy attention) {
    const auto& [example, timing] = GetParam();
    cuda_emulator::options() = {.copies = timing, .jitter = true, .seed = 0};
    const auto device = cuda::make_device(0, attention);
    // Another order of warps each time: results must not depend on it.
    cases::expect_equal(example, *device, [] { ++cuda_emulator::options().seed; });
  }
};

class EmulatedOperator : public Emulated {};
TEST_P(EmulatedOperator, EqualsCpu) { compare(cuda::AttentionBy::own); }

class EmulatedHopper : public Emulated {};
TEST_P(EmulatedHopper, EqualsCpu) { compare(cuda::AttentionBy::hopper); }

std::string name_of(const testing::TestParamInfo<Emulated::ParamType>& info) {
  return std::get<0>(info.param).name + (std::get<1>(info.param) == CopyTiming::kEager ? "_eager" : "_deferred");
}

const auto kTimings = testing::Values(CopyTiming::kDeferred, CopyTiming::kEager);
INSTANTIATE_TEST_SUITE_P(All, EmulatedOperator, testing::Combine(testing::ValuesIn(cases::all_cases(false)), kTimings),
                         name_of);
INSTANTIATE_TEST_SUITE_P(All, EmulatedHopper,
                         testing::Combine(testing::ValuesIn(cases::warpgroup_attention_cases(false)), kTimings),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Paged, EmulatedHopper,
                         testing::Combine(testing::ValuesIn(cases::paged_prefill_cases(false)), kTimings), name_of);

}  // namespace
}  // namespace alchemist

// Every CUDA kernel, unchanged, on the emulator against the CPU in double: with copies as late and as early as they may
// be, and with warps and lanes in random orders.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include "kernels/cuda/device.h"
#include "tests/cuda_cases/bench.h"

namespace alchemist {
namespace {

using cuda_emulator::CopyTiming;

class EmulatedOperator : public testing::TestWithParam<std::tuple<cases::Case, CopyTiming>> {};

TEST_P(EmulatedOperator, EqualsCpu) {
  const auto& [example, timing] = GetParam();
  cuda_emulator::options() = {.copies = timing, .jitter = true, .seed = 0};
  const auto device = cuda::make_device(0);
  // Another order of warps each time: results must not depend on it.
  cases::expect_equal(example, *device, [] { ++cuda_emulator::options().seed; });
}

std::string name_of(const testing::TestParamInfo<EmulatedOperator::ParamType>& info) {
  return std::get<0>(info.param).name + (std::get<1>(info.param) == CopyTiming::kEager ? "_eager" : "_deferred");
}

INSTANTIATE_TEST_SUITE_P(All, EmulatedOperator,
                         testing::Combine(testing::ValuesIn(cases::all_cases(false)),
                                          testing::Values(CopyTiming::kDeferred, CopyTiming::kEager)),
                         name_of);

}  // namespace
}  // namespace alchemist

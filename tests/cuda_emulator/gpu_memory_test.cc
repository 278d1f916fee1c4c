// What a user reads when the GPU is not there, full, or lost; and copies longer than an upload's slots.
#include "kernels/cuda/gpu_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/cuda/errors.h"

namespace alchemist::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

class GpuMemoryTest : public testing::Test {
 protected:
  ~GpuMemoryTest() override { cuda_emulator::machine() = {}; }
};

TEST_F(GpuMemoryTest, NoDevice) {
  cuda_emulator::machine().devices = 0;
  EXPECT_THAT([] { GpuMemory memory(0); }, ThrowsMessage<ConfigError>(HasSubstr("no CUDA device")));
}

TEST_F(GpuMemoryTest, NoWarpgroups) {
  cuda_emulator::machine().major = 8;
  EXPECT_THAT([] { make_device(0, AttentionBy::hopper); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("needs a Hopper GPU"), HasSubstr("compute capability 8.0"))));
  EXPECT_NO_THROW(make_device(0, AttentionBy::own));
  cuda_emulator::machine().major = 9;
  EXPECT_THAT(make_device(0, AttentionBy::hopper)->description(), HasSubstr("attention by warpgroups"));
}

TEST_F(GpuMemoryTest, NoSuchDevice) {
  EXPECT_THAT([] { GpuMemory memory(3); },
              ThrowsMessage<ConfigError>(HasSubstr("CUDA device 3 was asked for, but there are 1")));
}

TEST_F(GpuMemoryTest, MemoryIsFull) {
  GpuMemory memory(0);
  cuda_emulator::machine().memory_bytes = 1000;
  EXPECT_THAT([&] { memory.allocate(1001); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("GPU memory is full"), HasSubstr("1001"), HasSubstr("1000"))));
  EXPECT_THAT([&] { memory.allocate_host(1001); }, ThrowsMessage<ConfigError>(HasSubstr("can be pinned")));
}

TEST_F(GpuMemoryTest, DeviceIsLost) {
  GpuMemory memory(0);
  cuda_emulator::machine().fault = cudaErrorLaunchFailure;
  EXPECT_THAT([&] { memory.synchronise(); }, ThrowsMessage<ConfigError>(HasSubstr("the device is lost")));
  EXPECT_THAT([&] { memory.upload(nullptr, nullptr, 1); }, ThrowsMessage<ConfigError>(HasSubstr("the device is lost")));
}

// Ten megabytes and a bit: more than all slots of one megabyte hold, and no multiple of one.
TEST_F(GpuMemoryTest, LongCopiesArriveWhole) {
  GpuMemory memory(0);
  std::vector<std::int32_t> sent((10 << 18) + 3), back(sent.size());
  std::iota(sent.begin(), sent.end(), 1);
  const auto bytes = static_cast<std::int64_t>(sent.size() * sizeof(std::int32_t));
  void* device = memory.allocate(bytes);
  memory.upload(device, sent.data(), bytes);
  memory.download(back.data(), device, bytes);
  EXPECT_EQ(sent, back);
  memory.free(device);
}

TEST_F(GpuMemoryTest, WorkspaceGrowsAndKeepsWhatItHas) {
  GpuMemory memory(0);
  Workspace workspace(memory);
  void* first = workspace.get(100);
  EXPECT_EQ(workspace.get(50), first);
  EXPECT_NE(workspace.get(1 << 20), nullptr);
}

TEST_F(GpuMemoryTest, WorkspaceThatCannotGrowIsNotTheOldOne) {
  GpuMemory memory(0);
  Workspace workspace(memory);
  workspace.get(100);
  const std::uint64_t before = workspace.generation();
  cuda_emulator::machine().memory_bytes = 1000;
  EXPECT_THROW(workspace.get(1 << 20), ConfigError);
  EXPECT_GT(workspace.generation(), before);
  EXPECT_NE(workspace.get(100), nullptr);
}

}  // namespace
}  // namespace alchemist::cuda

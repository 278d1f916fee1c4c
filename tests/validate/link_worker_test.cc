// Copies over one direction of the link. Times are only bounded from below: a machine may always be slower.
#include "validate/link_worker.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "kernels/cpu/device.h"

namespace alchemist {
namespace {

class LinkWorkerTest : public ::testing::Test {
 protected:
  std::vector<std::byte> bytes(std::size_t count, int value) { return std::vector<std::byte>(count, std::byte(value)); }

  WallClock clock_;
  Inbox inbox_{clock_};
  std::unique_ptr<Device<float>> device_ = cpu::make_device<float>(1 << 20);
};

TEST_F(LinkWorkerTest, CopiesEverySegment) {
  const std::vector<std::byte> from = bytes(1'000'000, 7);
  std::vector<std::byte> to = bytes(1'000'000, 0);
  LinkWorker link(inbox_, *device_, CopyDirection::kDeviceToHost, {});
  link.submit(3, {{to.data() + 10, from.data(), 600'000}, {to.data() + 700'000, from.data() + 5, 200'000}});
  EXPECT_EQ(inbox_.wait_until(Time::max())->tag, 3u);
  for (std::size_t i = 0; i < to.size(); ++i) {
    const bool copied = (i >= 10 && i < 600'010) || (i >= 700'000 && i < 900'000);
    ASSERT_EQ(to[i], std::byte(copied ? 7 : 0)) << i;
  }
}

// 2 MB at 100 MB/s take 20 ms and the latency of 5 ms.
TEST_F(LinkWorkerTest, AnEmulatedLinkIsNoFasterThanItsPace) {
  const std::vector<std::byte> from = bytes(2'000'000, 7);
  std::vector<std::byte> to = bytes(2'000'000, 0);
  LinkWorker link(inbox_, *device_, CopyDirection::kHostToDevice, LinkPace{1e8, Duration::milliseconds(5)});
  link.submit(1, {{to.data(), from.data(), 2'000'000}});
  const JobDone done = *inbox_.wait_until(Time::max());
  EXPECT_GE(done.end - done.start, Duration::milliseconds(25));
  EXPECT_EQ(to, from);
}

// A large copy is under way when a small one is submitted: they share the link, so the small one is done first.
TEST_F(LinkWorkerTest, CopiesShareTheLink) {
  const std::vector<std::byte> from = bytes(8'000'000, 7);
  std::vector<std::byte> to = bytes(8'000'000, 0);
  LinkWorker link(inbox_, *device_, CopyDirection::kHostToDevice, LinkPace{1e8, Duration()});
  link.submit(1, {{to.data(), from.data(), 7'000'000}});
  link.submit(2, {{to.data() + 7'000'000, from.data(), 500'000}});
  EXPECT_EQ(inbox_.wait_until(Time::max())->tag, 2u);
  EXPECT_EQ(inbox_.wait_until(Time::max())->tag, 1u);
}

// A device whose link breaks.
class BrokenLink final : public DeviceMemory {
 public:
  std::string description() const override { return "broken"; }
  std::int64_t usable_bytes() const override { return 0; }
  void* allocate(std::int64_t) override { return nullptr; }
  void free(void*) noexcept override {}
  void* allocate_host(std::int64_t) override { return nullptr; }
  void free_host(void*) noexcept override {}
  void fill_zero(void*, std::int64_t) override {}
  void upload(void*, const void*, std::int64_t) override {}
  void download(void*, const void*, std::int64_t) override {}
  void link_copy(CopyDirection, void*, const void*, std::int64_t) override {}
  void link_wait(CopyDirection) override { throw std::runtime_error("broken"); }
  void synchronise() override {}
};

// Of a copy of many slices the first is the last one that is tried.
TEST_F(LinkWorkerTest, TellsThatACopyFailed) {
  BrokenLink device;
  LinkWorker link(inbox_, device, CopyDirection::kHostToDevice, LinkPace{1e12, Duration()});
  std::byte nothing{};
  link.submit(4, {{&nothing, &nothing, 8'000'000}});
  const JobDone done = *inbox_.wait_until(Time::max());
  EXPECT_EQ(done.tag, 4u);
  ASSERT_TRUE(done.error);
  EXPECT_THROW(std::rethrow_exception(done.error), std::runtime_error);
}

TEST_F(LinkWorkerTest, EndsWhileACopyWaits) {
  const std::vector<std::byte> from = bytes(1'000'000, 7);
  std::vector<std::byte> to = bytes(1'000'000, 0);
  LinkWorker link(inbox_, *device_, CopyDirection::kHostToDevice, LinkPace{1, Duration::milliseconds(3'600'000)});
  link.submit(1, {{to.data(), from.data(), 1'000'000}});
}

}  // namespace
}  // namespace alchemist

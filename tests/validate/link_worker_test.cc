// Copies over one direction of the link. Times are only bounded from below: a machine may always be slower.
#include "validate/link_worker.h"

#include <gtest/gtest.h>

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

TEST_F(LinkWorkerTest, EndsWhileACopyWaits) {
  const std::vector<std::byte> from = bytes(1'000'000, 7);
  std::vector<std::byte> to = bytes(1'000'000, 0);
  LinkWorker link(inbox_, *device_, CopyDirection::kHostToDevice, LinkPace{1, Duration::milliseconds(3'600'000)});
  link.submit(1, {{to.data(), from.data(), 1'000'000}});
}

}  // namespace
}  // namespace alchemist

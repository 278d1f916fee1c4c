// Which samples a training step takes, and where those go that come back.
#include "sim/node/sample_queue.h"

#include <gtest/gtest.h>

#include <vector>

namespace alchemist {
namespace {

// Of 10 tokens each.
SampleQueue queue_of(std::initializer_list<std::uint32_t> requests) {
  SampleQueue queue;
  for (const std::uint32_t request : requests) queue.add({RequestId(request), SessionId(request), 6, 4, 0, 0});
  return queue;
}

std::vector<std::uint32_t> ids(const std::vector<Feedback>& samples) {
  std::vector<std::uint32_t> result;
  for (const Feedback& sample : samples) result.push_back(sample.request.value());
  return result;
}

// Even requests are recorded.
double share_of(const Feedback& sample) { return sample.request.value() % 2 == 0 ? 1 : 0; }

TEST(SampleQueue, TakesUntilTheBatchIsFull) {
  SampleQueue queue = queue_of({1, 2, 3, 4});
  EXPECT_EQ(queue.tokens(), 40);
  EXPECT_EQ(ids(queue.take(11, SampleOrder::kOldest, share_of)), (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(queue.tokens(), 20);
  EXPECT_EQ(ids(queue.take(100, SampleOrder::kOldest, share_of)), (std::vector<std::uint32_t>{3, 4}));
  EXPECT_EQ(queue.samples(), 0);
  EXPECT_TRUE(queue.take(100, SampleOrder::kOldest, share_of).empty());
}

TEST(SampleQueue, RecordedOnesFirstOfThemTheLatest) {
  SampleQueue queue = queue_of({1, 2, 3, 4});
  EXPECT_EQ(ids(queue.take(30, SampleOrder::kRecorded, share_of)), (std::vector<std::uint32_t>{4, 2, 3}));
  EXPECT_EQ(ids(queue.take(30, SampleOrder::kRecorded, share_of)), (std::vector<std::uint32_t>{1}));
}

// The first of them alone is recorded: as long as it is one of the latest 1,024 it is found.
TEST(SampleQueue, WhatCameLongAgoIsNotLookedAt) {
  for (const std::uint32_t others : {1'023u, 1'024u}) {
    SampleQueue queue = queue_of({0});
    for (std::uint32_t i = 0; i < others; ++i) queue.add({RequestId(2 * i + 1), SessionId(i), 6, 4, 0, 0});
    const std::uint32_t latest = 2 * others - 1;
    EXPECT_EQ(ids(queue.take(10, SampleOrder::kRecorded, share_of)),
              (std::vector<std::uint32_t>{others == 1'023 ? 0 : latest}));
  }
}

// Only the latest 1,024 are looked at, so that what comes back has to be among them.
TEST(SampleQueue, WhatComesBackIsTakenNext) {
  for (const SampleOrder order : {SampleOrder::kOldest, SampleOrder::kRecorded}) {
    SampleQueue queue;
    for (std::uint32_t request = 0; request < 3'000; ++request) {
      queue.add({RequestId(2 * request), SessionId(request), 6, 4, 0, 0});
    }
    const std::vector<Feedback> taken = queue.take(10, order, share_of);
    queue.put_back(taken, order);
    EXPECT_EQ(queue.tokens(), 30'000);
    EXPECT_EQ(ids(queue.take(10, order, share_of)), ids(taken));
  }
}

}  // namespace
}  // namespace alchemist

#include "sim/engine/event_queue.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "sim/base/random.h"
#include "tests/times.h"

namespace alchemist {
namespace {

// Feedback comes before the steps that end at the same time, these in the order in which they were told, and a node
// wakes when it knows of all of them.
TEST(EventQueue, EventsOfOneTimeGoByPriorityAndThenInOrder) {
  EventQueue<int> queue;
  queue.push(at_ns(5), EventPriority::kWake, 4);
  queue.push(at_ns(5), EventPriority::kStepEnd, 2);
  queue.push(at_ns(5), EventPriority::kFeedback, 1);
  queue.push(at_ns(4), EventPriority::kWake, 0);
  queue.push(at_ns(5), EventPriority::kStepEnd, 3);
  std::vector<int> order;
  while (!queue.empty()) order.push_back(queue.pop().payload);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

// Events lead to others between those that are pending, or to none, as they come: the next one is always the first of a
// sorted list.
TEST(EventQueue, NextIsFirstOfAll) {
  RandomStream random(1, "events");
  EventQueue<int> queue;
  std::map<std::pair<std::int64_t, int>, int> sorted;  // by time and order of coming
  std::int64_t now = 0;
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_EQ(queue.size(), sorted.size());
    ASSERT_EQ(queue.empty(), sorted.empty());
    ASSERT_EQ(queue.next_time(), sorted.empty() ? Time::max() : at_ns(sorted.begin()->first.first));
    const bool grows = i / 500 % 2 == 0;
    if (sorted.empty() || random.uniform() < (grows ? 0.6 : 0.4)) {
      const std::int64_t time = now + static_cast<std::int64_t>(random.uniform() * 50);
      queue.push(at_ns(time), EventPriority::kStepEnd, i);
      sorted[{time, i}] = i;
      continue;
    }
    const EventQueue<int>::Event event = queue.pop();
    ASSERT_EQ(event.time, at_ns(sorted.begin()->first.first));
    ASSERT_EQ(event.payload, sorted.begin()->second);
    now = sorted.begin()->first.first;
    sorted.erase(sorted.begin());
  }
}

}  // namespace
}  // namespace alchemist

#include "sim/engine/event_queue.h"

#include <gtest/gtest.h>

#include <vector>

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

}  // namespace
}  // namespace alchemist

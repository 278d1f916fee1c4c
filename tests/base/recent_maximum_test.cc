#include "sim/base/recent_maximum.h"

#include <gtest/gtest.h>

#include "sim/base/random.h"

namespace alchemist {
namespace {

// 5 3 4 1 at positions 1..4: from 1 the largest is 5, from 2 and 3 it is 4, from 4 it is 1, after that there is none.
TEST(RecentMaximum, HandMadeSequence) {
  RecentMaximum<int> recent;
  EXPECT_FALSE(recent.since(0).has_value());
  recent.push(1, 5);
  recent.push(2, 3);
  recent.push(3, 4);
  recent.push(4, 1);
  EXPECT_EQ(recent.since(0), 5);
  EXPECT_EQ(recent.since(1), 5);
  EXPECT_EQ(recent.since(2), 4);
  EXPECT_EQ(recent.since(3), 4);
  EXPECT_EQ(recent.since(4), 1);
  EXPECT_FALSE(recent.since(5).has_value());
  EXPECT_THROW(recent.push(3, 1), InternalError);
  recent.forget_before(2);
  EXPECT_EQ(recent.since(0), 4);
  recent.forget_before(5);
  EXPECT_FALSE(recent.since(0).has_value());
}

TEST(RecentMaximum, AgreesWithASearch) {
  RecentMaximum<std::int64_t> recent;
  RandomStream stream(1, "maximum");
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < 2000; ++i) {
    all.push_back(stream.uniform_int(0, 50));
    recent.push(i, all.back());
    const std::int64_t from = stream.uniform_int(0, i);
    EXPECT_EQ(recent.since(from), *std::max_element(all.begin() + from, all.end()));
  }
}

}  // namespace
}  // namespace alchemist

#include "sim/engine/feedback_book.h"

#include <gtest/gtest.h>

#include "tests/engine/support.h"

namespace alchemist {
namespace {

// A request that gets feedback with either share gets it after the same delay, so that runs with different shares can
// be compared.
TEST(FeedbackBook, DelaysDoNotDependOnTheShare) {
  testing::TextObserver observer;
  FeedbackConfig all, some;
  all.share = 1;
  some.share = 0.3;
  FeedbackBook book_of_all(1, all, observer), book_of_some(1, some, observer);
  int both = 0;
  for (int i = 0; i < 200; ++i) {
    const auto a = book_of_all.draw_next(), b = book_of_some.draw_next();
    ASSERT_TRUE(a);
    if (!b) continue;
    EXPECT_EQ(*a, *b);
    ++both;
  }
  EXPECT_NEAR(both, 0.3 * 200, 30);
}

}  // namespace
}  // namespace alchemist

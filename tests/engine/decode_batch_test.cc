#include "sim/engine/decode_batch.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

// Of contexts 10, 20 and 50 the second leaves; each of the others attends to its own token too.
TEST(DecodeBatch, WhoLeavesTakesItsContextAlong) {
  DecodeBatch batch;
  batch.join(RequestHandle(0), 10, 5);
  batch.join(RequestHandle(1), 20, 5);
  batch.join(RequestHandle(2), 50, 5);
  EXPECT_EQ(batch.leave(RequestHandle(1)), 5);
  EXPECT_EQ(batch.context_sum(), 11 + 51);
  EXPECT_EQ(batch.context_max(), 51);
}

}  // namespace
}  // namespace alchemist

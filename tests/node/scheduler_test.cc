#include "sim/node/scheduler.h"

#include <gtest/gtest.h>

#include <array>

namespace alchemist {
namespace {

// Has some of the pool's blocks and gives none of them back.
class Keeper final : public BlockLender {
 public:
  void reclaim(std::int32_t, bool) override {}
};

// Of two blocks of 16 tokens training has one. The prompt fills the other; for the step behind it, which would compute
// its first answer token, there is no block, and the request gives way to nobody.
struct ShortOfMemory {
  ShortOfMemory() : scheduler(config(), 2, &keeper) {
    scheduler.pool().allocate();
    Arrival arrival;
    arrival.request = request;
    arrival.prompt_tokens = 16;
    scheduler.enqueue(arrival);
  }
  static ServingConfig config() {
    ServingConfig config;
    config.max_num_seqs = 8;
    config.max_num_batched_tokens = 16;  // of the 17 tokens that it has to compute again, the first 16 fit a step
    config.reserve_full_prompt = false;
    config.prefix_caching = false;
    return config;
  }

  Keeper keeper;
  Scheduler scheduler;
  RequestHandle request{0};
};

// While the step that gives its first token is under way nobody knows if that is the last one.
TEST(Scheduler, WhoGivesWayDuringItsLastStepIsNotBegunAgain) {
  ShortOfMemory s;
  ASSERT_TRUE(s.scheduler.plan());
  EXPECT_FALSE(s.scheduler.plan()) << "nothing can run behind it";
  s.scheduler.end(std::array{s.request});
  EXPECT_EQ(s.scheduler.running() + s.scheduler.waiting(), 0);
  EXPECT_EQ(s.scheduler.pool().used(), 1) << "the lender's";
}

// It was not: what was computed of the request is lost, and it begins again where memory suffices.
TEST(Scheduler, WhoGaveWayIsBegunAgainBehindTheStepInFlight) {
  ShortOfMemory s;
  ASSERT_TRUE(s.scheduler.plan());
  ASSERT_FALSE(s.scheduler.plan());
  const std::optional<ServingOp> op = s.scheduler.plan();
  ASSERT_TRUE(op);
  ASSERT_EQ(op->preempted.size(), 1u) << "told with the operation that follows";
  ASSERT_EQ(op->prefills.size(), 1u);
  EXPECT_EQ(op->prefills[0].target, 17);
  EXPECT_EQ(op->prefills[0].chunk.tokens, 16);
}

}  // namespace
}  // namespace alchemist

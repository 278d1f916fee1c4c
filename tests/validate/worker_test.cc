// What a worker says of its jobs.
#include "validate/worker.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace alchemist {
namespace {

TEST(Worker, TellsWhatAJobThrew) {
  WallClock clock;
  Inbox inbox(clock);
  Worker worker(inbox, false);
  worker.submit(1, [] { throw std::runtime_error("out of order"); });
  worker.submit(2, [] {});
  const JobDone failed = *inbox.wait_until(Time::max()), next = *inbox.wait_until(Time::max());
  EXPECT_EQ(failed.tag, 1u);
  ASSERT_TRUE(failed.error);
  EXPECT_THROW(std::rethrow_exception(failed.error), std::runtime_error);
  EXPECT_EQ(next.tag, 2u);
  EXPECT_FALSE(next.error);
}

TEST(Worker, TheProbeIsNotPartOfTheJob) {
  WallClock clock;
  Inbox inbox(clock);
  Worker worker(inbox, true);
  for (int i = 0; i < 20; ++i) {
    const Time before = clock.now();
    worker.submit(1, [] {});
    const JobDone done = *inbox.wait_until(Time::max());
    EXPECT_GT(done.probe_us, 0);
    EXPECT_GE((done.start - before).in_seconds() * 1e6, done.probe_us);
  }
}

}  // namespace
}  // namespace alchemist

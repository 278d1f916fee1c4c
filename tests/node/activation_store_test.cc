#include "sim/node/activation_store.h"

#include <gtest/gtest.h>

#include "tests/node/store.h"

namespace alchemist {
namespace {

using testing::Store;

// Serving is short of 4 blocks in a burst. The hedged record has its copy on the host already, so its memory is free at
// once and nothing moves.
TEST(ActivationStore, HedgedRecordGivesWayAtOnce) {
  Store s("eager");
  s.record(1);
  ASSERT_EQ(s.host.copies.size(), 1u);
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last(), Duration::milliseconds(1)));
  while (s.pool.free() > 0) s.pool.allocate();
  s.store->reclaim(Time(), 4, false);
  EXPECT_EQ(s.pool.free(), 4);
  EXPECT_EQ(s.host.copies.size(), 1u);
  EXPECT_EQ(s.store->host_bytes(), Bytes(400));
  EXPECT_EQ(s.store->gpu_bytes(), Bytes());
  s.store->check_consistency();
}

// Without a copy serving waits for one to be made, and the memory is free when it is done.
TEST(ActivationStore, RecordWithoutCopyMakesServingWait) {
  Store s("pressure");
  s.record(1);
  EXPECT_TRUE(s.host.copies.empty());
  while (s.pool.free() > 0) s.pool.allocate();
  s.store->reclaim(Time(), 4, false);
  EXPECT_EQ(s.pool.free(), 0) << "the copy is on its way";
  ASSERT_EQ(s.host.copies, std::vector<std::string>{"out 0: 400"});
  s.store->reclaim(Time(), 4, false);
  EXPECT_EQ(s.host.copies.size(), 1u) << "what is coming is not asked for again";
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last(), Duration::milliseconds(1)));
  EXPECT_EQ(s.pool.free(), 4);
  s.store->check_consistency();
}

// A decoding request cannot wait: what has no copy is dropped.
TEST(ActivationStore, UrgentNeedDropsTheRecord) {
  Store s("pressure");
  s.record(1);
  while (s.pool.free() > 0) s.pool.allocate();
  s.store->reclaim(Time(), 1, true);
  EXPECT_EQ(s.pool.free(), 4);
  EXPECT_TRUE(s.host.copies.empty());
  EXPECT_EQ(s.store->live_records(), 0);
}

// Records leave before their share is full: the second one takes 8 of 10 pages, more than half, so the older goes.
TEST(ActivationStore, OldestRecordLeavesWhenHalfTheShareIsTaken) {
  Store s("pressure");
  s.record(1);
  s.record(2);
  ASSERT_EQ(s.host.copies.size(), 1u);
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last(), Duration::milliseconds(1)));
  EXPECT_EQ(s.store->gpu_bytes(), Bytes(400));
  EXPECT_EQ(s.store->host_bytes(), Bytes(400));
  s.store->check_consistency();
}

// The GPU keeps its copy only while there is memory that holds nothing else of use.
TEST(ActivationStore, HedgedRecordLeavesTheGpuWhenOnlyCachedPrefixesAreLeft) {
  Store s("eager");
  // Six free blocks that hold prefixes, so that no free one is blank once the record has its four.
  std::vector<BlockId> blocks;
  for (int i = 0; i < 6; ++i) blocks.push_back(s.pool.allocate());
  for (std::size_t i = 0; i < blocks.size(); ++i) s.pool.publish(blocks[i], 100 + i);
  for (const BlockId block : blocks) s.pool.release(block);
  s.record(1);
  EXPECT_EQ(s.pool.free(), s.pool.cached());
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last(), Duration::milliseconds(1)));
  EXPECT_EQ(s.store->gpu_bytes(), Bytes());
  EXPECT_EQ(s.store->host_bytes(), Bytes(400));
  EXPECT_EQ(s.pool.cached(), 6) << "no prefix was displaced";
}

// 10 pages of 100 bytes hold 100 tokens of 10 bytes or 250 lean ones of 4.
TEST(ActivationStore, LongPromptsAreKeptLeanOrNotAtAll) {
  Store s("eager");
  const auto recorded = [&](std::uint32_t request, std::int32_t tokens) {
    Arrival arrival;
    arrival.id = RequestId(request);
    arrival.session = SessionId(request);
    arrival.prompt_tokens = tokens;
    const auto id = s.store->begin(Time(), arrival, 0, tokens, WeightVersion());
    if (!id) return Bytes();
    const Bytes bytes = s.store->extend(Time(), *id, tokens);
    s.store->abandon(Time(), *id);
    return bytes;
  };
  EXPECT_EQ(recorded(1, 100), Bytes(1'000));
  EXPECT_EQ(recorded(2, 101), Bytes(404));
  EXPECT_EQ(recorded(3, 250), Bytes(1'000));
  EXPECT_EQ(recorded(4, 251), Bytes());
}

// Host memory that training takes counts against the pool, and records give way to it.
TEST(ActivationStore, TrainingTakesHostMemory) {
  Store s("eager");
  s.record(1);
  s.record(2);
  EXPECT_TRUE(s.store->on_copy_done(Time(), OpId(0), Duration::milliseconds(1)));
  EXPECT_TRUE(s.store->on_copy_done(Time(), OpId(1), Duration::milliseconds(1)));
  EXPECT_EQ(s.store->host_bytes(), Bytes(800));
  EXPECT_FALSE(s.store->take_host(Time(), Bytes(1'100))) << "more than there is";
  while (s.pool.free() > 0) s.pool.allocate();
  s.store->reclaim(Time(), 8, false);  // both live on the host alone now
  EXPECT_TRUE(s.store->take_host(Time(), Bytes(600)));
  EXPECT_EQ(s.store->host_bytes(), Bytes(1'000)) << "one record of 400 and 600 of training";
  EXPECT_EQ(s.store->live_records(), 1);
  s.store->give_host(Bytes(600));
  EXPECT_EQ(s.store->host_bytes(), Bytes(400));
  s.store->check_consistency();
}

}  // namespace
}  // namespace alchemist

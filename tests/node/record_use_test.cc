// What records hold of samples that are trained, and what becomes of records that are used or no longer wanted.
#include <gtest/gtest.h>

#include "tests/node/store.h"

namespace alchemist {
namespace {

using testing::Store;

// Of session and request `id`: 40 + 30 tokens.
Feedback sample_of(std::uint32_t id) { return {RequestId(id), SessionId(id), 40, 30, 0, 0}; }

// The record of the first turn was made with weights that are too old by now, that of the second, which covers the same
// tokens and more, with those of today.
TEST(RecordUse, AnOldRecordHidesNoNewerOne) {
  Store s("stay", 20);
  s.record_of(1, 9, 0, 40, 0);
  s.record_of(2, 9, 0, 60, 3);
  const Coverage coverage = s.store->acquire({RequestId(2), SessionId(9), 60, 30, 0, 0}, WeightVersion(3), 1);
  EXPECT_EQ(coverage.resident_tokens, 60);
  EXPECT_EQ(coverage.dropped_tokens, 0);
}

// Tokens 0 .. 40 of the first record were evicted, of the second, which is too old, 40 .. 80 are there; of another turn
// 60 .. 70 can be used.
TEST(RecordUse, WhatWasRecordedOnceAndCannotBeUsedIsDropped) {
  Store s("stay", 20);
  s.record_of(1, 9, 0, 40, 3);
  s.store->reclaim(Time(), 4, true);
  s.record_of(2, 9, 40, 80, 0);
  s.record_of(3, 9, 60, 70, 3);
  const Feedback sample{RequestId(1), SessionId(9), 80, 30, 0, 0};
  const Coverage coverage = s.store->acquire(sample, WeightVersion(3), 1);
  EXPECT_EQ(coverage.resident_tokens, 10);
  EXPECT_EQ(coverage.dropped_tokens, 40 + 20 + 10);
  s.store->put_back(coverage.records);
  s.store->end_of_use(Time(), RequestId(1));
  EXPECT_EQ(s.store->acquire(sample, WeightVersion(3), 1).dropped_tokens, 20 + 10) << "trained: nobody misses it";
}

// Somebody waited for the first record, whose feedback had come; on the second none had; and nobody misses the third,
// whose own sample has been trained.
TEST(RecordUse, DroppedAreThoseThatWereWaitedFor) {
  Store s("stay", 20);
  for (const std::uint32_t request : {1, 2, 3}) s.record(request);
  for (const std::uint32_t request : {1, 3}) s.store->on_feedback(Time(), sample_of(request));
  s.store->end_of_use(Time(), RequestId(3));
  while (s.pool.free() > 0) s.pool.allocate();
  s.store->reclaim(Time(), 4, true);
  EXPECT_EQ(s.store->acquire(sample_of(3), WeightVersion(), 1).dropped_tokens, 0);
  s.store->reclaim(Time(), 8, true);
  EXPECT_EQ(s.store->live_records(), 0);
  EXPECT_EQ(s.store->totals().dropped_records, 1);
  EXPECT_EQ(s.store->acquire(sample_of(1), WeightVersion(), 1).dropped_tokens, 40);
}

// Records of versions 1 and 2 under version 3.
TEST(RecordUse, ASampleLagsAsMuchAsItsOldestRecord) {
  Store s("stay", 20);
  s.record_of(1, 9, 0, 40, 1);
  s.record_of(2, 9, 40, 80, 2);
  EXPECT_EQ(s.store->acquire({RequestId(2), SessionId(9), 80, 30, 0, 0}, WeightVersion(3), 2).version_lag, 2);
}

TEST(RecordUse, ARecordIsUsedUpToTheLargestLag) {
  Store s("stay", 20);
  s.record(1);
  EXPECT_EQ(s.store->acquire(sample_of(1), WeightVersion(1), 1).resident_tokens, 40);
}

TEST(RecordUse, ARecordGoesWhenItLagsMoreThanItMay) {
  Store s("stay", 20);
  s.record(1);
  s.store->on_new_version(Time(), WeightVersion(1), 1);
  EXPECT_EQ(s.store->live_records(), 1);
  s.store->on_new_version(Time(), WeightVersion(2), 1);
  EXPECT_EQ(s.store->live_records(), 0);
}

// Its own sample is trained while it is copied; the next turn of the conversation uses it before the copy ends, and one
// more afterwards, when it is on the host alone.
TEST(RecordUse, ATrainedRecordStaysForTheNextTurns) {
  Store s("eager");
  s.record_of(1, 9, 0, 40, 0);
  s.store->end_of_use(Time(), RequestId(1));
  const Coverage coverage = s.store->acquire({RequestId(2), SessionId(9), 60, 30, 0, 0}, WeightVersion(), 1);
  EXPECT_EQ(coverage.resident_tokens, 40);
  ASSERT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  EXPECT_EQ(s.store->gpu_bytes(), Bytes(400)) << "it is in use";
  s.store->put_back(coverage.records);
  EXPECT_EQ(s.store->gpu_bytes(), Bytes());
  EXPECT_EQ(s.store->acquire({RequestId(3), SessionId(9), 80, 30, 0, 0}, WeightVersion(), 1).host_tokens, 40);
  s.store->check_consistency();
}

// It is the first to go, although the other one is older and has no feedback yet, and it is not copied before that.
TEST(RecordUse, ATrainedRecordIsTheFirstToGo) {
  for (const char* place : {"stay", "pressure"}) {
    Store s(place, 20);
    s.record(1);
    s.record(2);
    s.store->end_of_use(Time(), RequestId(2));
    EXPECT_EQ(s.store->live_records(), 2) << "as long as there is memory";
    EXPECT_EQ(s.store->reclaim(Time(), 2, false), 0);
    EXPECT_TRUE(s.host.copies.empty());
    EXPECT_EQ(s.store->acquire(sample_of(1), WeightVersion(), 1).resident_tokens, 40);
    EXPECT_EQ(s.store->live_records(), 1);
    EXPECT_EQ(s.store->totals().dropped_records, 0);
    s.store->check_consistency();
  }
}

// Records may hold six pages of the GPU, and more as long as the prefix cache has no use for it: for a trained one that
// is too much, and it goes to the host, if there is one.
TEST(RecordUse, ATrainedRecordLeavesSpareMemory) {
  for (const bool host : {false, true}) {
    Store s(host ? "tiered" : "stay", 6, 64);
    s.record(1);
    s.record(2);
    EXPECT_EQ(s.store->gpu_bytes(), Bytes(800));
    s.store->end_of_use(Time(), RequestId(1));
    ASSERT_TRUE(!host || s.store->on_copy_done(Time(), s.host.last()));
    EXPECT_EQ(s.store->host_bytes(), Bytes(host ? 400 : 0));
    EXPECT_EQ(s.store->gpu_bytes(), Bytes(400));
    s.store->end_of_use(Time(), RequestId(2));
    EXPECT_EQ(s.store->gpu_bytes(), Bytes(400)) << "within what is theirs";
    s.store->check_consistency();
  }
}

// The host has room for two such records: the one that was trained first makes room for the third.
TEST(RecordUse, TheOldestTrainedRecordLeavesTheHost) {
  Store s("tiered", 6, 64);
  for (const std::uint32_t request : {1, 2, 3}) s.record(request);
  s.record(4);
  for (const std::uint32_t request : {1, 2, 3}) {
    s.store->end_of_use(Time(), RequestId(request));
    ASSERT_TRUE(request == 3 || s.store->on_copy_done(Time(), s.host.last()));
    s.store->check_consistency();
  }
  ASSERT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  EXPECT_EQ(s.store->host_bytes(), Bytes(800));
  EXPECT_EQ(s.store->acquire(sample_of(1), WeightVersion(), 1).host_tokens, 0);
  EXPECT_EQ(s.store->acquire(sample_of(3), WeightVersion(), 1).host_tokens, 40);
  s.store->check_consistency();
}

// Nobody ever comes back for a trained record: after 32 of them none is copied any more.
TEST(RecordUse, TrainedRecordsAreCopiedWhereConversationsGoOn) {
  for (const bool go_on : {false, true}) {
    Store s("tiered", 2, 64, Bytes(100'000));
    std::size_t early = 0;
    for (std::uint32_t turn = 1; turn <= 80; ++turn) {
      s.record_of(turn, go_on ? 9 : turn, 0, 40, 0);
      s.store->end_of_use(Time(), RequestId(turn));
      if (!s.host.copies.empty()) s.store->on_copy_done(Time(), s.host.last());
      const Coverage coverage =
          s.store->acquire({RequestId(1'000 + turn), SessionId(9), 40, 30, 0, 0}, WeightVersion(), 1);
      s.store->put_back(coverage.records);
      if (turn == 40) early = s.host.copies.size();
    }
    if (go_on) {
      EXPECT_GT(s.host.copies.size(), early);
    } else {
      EXPECT_EQ(s.host.copies.size(), early);
    }
    EXPECT_GE(early, 30U);
    s.store->check_consistency();
  }
}

// Of two records that begin with the conversation the later one has the newer weights.
TEST(RecordUse, TheLaterRecordIsUsed) {
  Store s("stay", 20);
  s.record_of(1, 9, 0, 40, 1);
  s.store->end_of_use(Time(), RequestId(1));
  s.record_of(2, 9, 0, 60, 2);
  const Coverage coverage = s.store->acquire({RequestId(2), SessionId(9), 60, 30, 0, 0}, WeightVersion(2), 4);
  EXPECT_EQ(coverage.resident_tokens, 60);
  EXPECT_EQ(coverage.version_lag, 0);
}

// It is wasted when it goes without having been read.
TEST(RecordUse, ACopyThatWasReadIsNotWasted) {
  for (const bool read : {false, true}) {
    Store s("eager");
    while (s.pool.free() > 4) s.pool.allocate();
    s.record(1);
    ASSERT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
    s.store->reclaim(Time(), 4, true);
    const Coverage coverage = s.store->acquire(sample_of(1), WeightVersion(), 1);
    EXPECT_EQ(coverage.host_tokens, 40);
    if (read) s.store->mark_reloaded(coverage.records);
    s.store->put_back(coverage.records);
    s.store->end_of_use(Time(), RequestId(1));
    EXPECT_EQ(s.store->live_records(), 1);
    s.store->on_new_version(Time(), WeightVersion(2), 1);
    EXPECT_EQ(s.store->live_records(), 0);
    EXPECT_EQ(s.store->totals().wasted_copies, Bytes(read ? 0 : 400));
  }
}

// Feedback has come on the first record alone when both are 11 s old; without it a record is kept for 10 s.
TEST(RecordUse, FeedbackKeepsARecordFromExpiring) {
  Store s("stay", 20);
  s.policy.keep_for = Duration::seconds(10);
  s.record(1);
  s.record(2);
  s.store->on_feedback(Time(), sample_of(1));
  ASSERT_TRUE(s.store->begin(Time() + Duration::seconds(11), Store::arrival(3), 0, 40, WeightVersion()));
  EXPECT_GT(s.store->saved_share(sample_of(1), {}, 1), 0);
  EXPECT_EQ(s.store->saved_share(sample_of(2), {}, 1), 0);
}

// Serving is short of a record's memory, and the older of two is on its way to the host. Who can wait waits for that;
// who cannot gets the memory of the other at once.
TEST(RecordUse, MemoryThatIsComingCountsUnlessTheNeedIsUrgent) {
  for (const bool urgent : {false, true}) {
    Store s("pressure", 20);
    s.record(1);
    s.record(2);
    while (s.pool.free() > 0) s.pool.allocate();
    s.store->reclaim(Time(), 4, false);
    ASSERT_EQ(s.host.copies.size(), 1u);
    s.store->reclaim(Time(), 4, urgent);
    EXPECT_EQ(s.host.copies.size(), 1u);
    EXPECT_EQ(s.pool.free(), urgent ? 4 : 0);
  }
}

// The copy that lets it leave the GPU ends while a training step reads it there.
TEST(RecordUse, ARecordInUseLeavesWhenItIsPutBack) {
  Store s("pressure", 10);
  s.record(1);
  while (s.pool.free() > 0) s.pool.allocate();
  s.store->reclaim(Time(), 4, false);
  const Coverage coverage = s.store->acquire(sample_of(1), WeightVersion(), 1);
  EXPECT_EQ(coverage.resident_tokens, 40);
  ASSERT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  EXPECT_EQ(s.pool.free(), 0);
  s.store->put_back(coverage.records);
  EXPECT_EQ(s.pool.free(), 4);
  s.store->check_consistency();
}

}  // namespace
}  // namespace alchemist

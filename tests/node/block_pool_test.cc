#include "sim/node/block_pool.h"

#include <gtest/gtest.h>

#include <map>
#include <span>
#include <vector>

#include "sim/base/check.h"
#include "sim/base/random.h"

namespace alchemist {
namespace {

TEST(BlockPool, EvictsTheLeastRecentlyUsedFirst) {
  BlockPool pool(3);
  const BlockId a = pool.allocate(), b = pool.allocate(), c = pool.allocate();
  pool.publish(a, 10);
  pool.publish(b, 20);
  pool.publish(c, 30);
  pool.release(b);
  pool.release(a);
  pool.release(c);
  EXPECT_EQ(pool.find(20), b);    // free, but its content can still be hit
  EXPECT_EQ(pool.allocate(), b);  // released first
  EXPECT_EQ(pool.find(20), std::nullopt);
  EXPECT_EQ(pool.find(10), a);
  pool.check_consistency();
}

TEST(BlockPool, SharedBlockStaysUntilItsLastHolderReleasesIt) {
  BlockPool pool(2);
  const BlockId a = pool.allocate();
  pool.publish(a, 10);
  pool.share(a);
  pool.release(a);
  EXPECT_EQ(pool.free(), 1);
  pool.release(a);
  EXPECT_EQ(pool.free(), 2);
  pool.share(*pool.find(10));  // takes it off the free list again
  EXPECT_EQ(pool.free(), 1);
  EXPECT_NE(pool.allocate(), a);
}

// As vLLM's map from hashes to blocks: the next one takes over when that is evicted.
TEST(BlockPool, OfEqualPrefixesTheFirstIsFound) {
  BlockPool pool(3);
  const BlockId a = pool.allocate(), b = pool.allocate(), c = pool.allocate();
  for (const BlockId block : {b, a, c}) pool.publish(block, 10);
  EXPECT_EQ(pool.find(10), b);
  for (const BlockId block : {b, a}) pool.release(block);
  EXPECT_EQ(pool.find(10), b);
  EXPECT_EQ(pool.allocate(), b);
  EXPECT_EQ(pool.find(10), a);
  EXPECT_EQ(pool.allocate(), a);
  EXPECT_EQ(pool.find(10), c);
  pool.check_consistency();
}

TEST(BlockPool, ManyAtOnceComeAndGoInOrder) {
  BlockPool pool(6);
  std::vector<BlockId> some;
  pool.allocate(4, some);
  EXPECT_EQ(some, (std::vector<BlockId>{BlockId(0), BlockId(1), BlockId(2), BlockId(3)}));
  EXPECT_EQ(pool.free(), 2);
  pool.publish(some[1], 10);
  pool.release_first(std::span(some).subspan(1));
  EXPECT_EQ(pool.find(10), std::nullopt);
  pool.check_consistency();
  std::vector<BlockId> all;
  pool.allocate(5, all);
  EXPECT_EQ(all, (std::vector<BlockId>{BlockId(3), BlockId(2), BlockId(1), BlockId(4), BlockId(5)}));
  EXPECT_THROW(pool.allocate(1, all), InternalError);
  pool.release_first(all);
  pool.release(some[0]);
  EXPECT_EQ(pool.free(), 6);
  pool.check_consistency();
}

// Thirty-two prefixes are hit in the order in which they came free, again and again: each 32 blocks after it.
TEST(BlockPool, KnowsHowFarBackHitsGo) {
  BlockPool pool(64);
  pool.watch_reuse();
  std::vector<BlockId> blocks;
  for (PrefixHash hash = 0; hash < 32; ++hash) {
    blocks.push_back(pool.allocate());
    pool.publish(blocks.back(), hash);
  }
  for (const BlockId block : blocks) pool.release(block);
  EXPECT_EQ(pool.spare(), 32) << "the blocks that hold nothing, as long as no hit is known";
  for (int round = 0; round < 20; ++round) {
    for (PrefixHash hash = 0; hash < 32; ++hash) {
      pool.share(*pool.find(hash));
      pool.release(*pool.find(hash));
    }
  }
  EXPECT_LE(pool.spare(), 64 - 32);
  EXPECT_GE(pool.spare(), 64 - 39);
  std::vector<BlockId> all;
  pool.allocate(64, all);
  EXPECT_EQ(pool.find(5), std::nullopt);
  EXPECT_TRUE(pool.note_missed(5));
  EXPECT_FALSE(pool.note_missed(1'000));
}

// A held block and a free one hold prefixes when the weights change.
TEST(BlockPool, WhatOlderWeightsMadeIsMarked) {
  BlockPool pool(4);
  const BlockId held = pool.allocate(), released = pool.allocate();
  pool.publish(held, 1);
  pool.publish(released, 2);
  pool.release(released);
  EXPECT_FALSE(pool.is_stale(held) || pool.is_stale(released));
  pool.mark_stale();
  EXPECT_EQ(pool.find(1), held);
  EXPECT_EQ(pool.find(2), released);
  EXPECT_TRUE(pool.is_stale(held) && pool.is_stale(released));
  EXPECT_EQ(pool.cached(), 1);
  const BlockId fresh = pool.allocate();
  pool.publish(fresh, 3);
  EXPECT_FALSE(pool.is_stale(fresh));
  pool.check_consistency();
}

// The same, forgotten: memory is as free as before, and blocks that were held can be given back and hold others.
TEST(BlockPool, WhatOlderWeightsMadeIsForgotten) {
  BlockPool pool(4);
  pool.watch_reuse();
  std::vector<BlockId> blocks;
  for (PrefixHash hash = 0; hash < 4; ++hash) {
    blocks.push_back(pool.allocate());
    pool.publish(blocks.back(), hash);
  }
  pool.release(blocks[1]);
  pool.release(blocks[2]);
  pool.release(pool.allocate());  // takes the block of prefix 1
  EXPECT_EQ(pool.cached(), 1);
  pool.forget_all();
  pool.check_consistency();
  for (PrefixHash hash = 0; hash < 4; ++hash) EXPECT_EQ(pool.find(hash), std::nullopt) << hash;
  EXPECT_FALSE(pool.note_missed(1)) << "a larger cache would have had to forget it, too";
  EXPECT_EQ(pool.cached(), 0);
  EXPECT_EQ(pool.free(), 2);
  pool.release(blocks[0]);
  pool.release(blocks[3]);
  EXPECT_EQ(pool.cached(), 0);
  for (PrefixHash hash = 0; hash < 4; ++hash) pool.publish(pool.allocate(), hash);
  EXPECT_TRUE(pool.find(0) && pool.find(3));
  pool.check_consistency();
}

TEST(BlockPool, MisuseIsCaught) {
  BlockPool pool(1);
  const BlockId a = pool.allocate();
  EXPECT_THROW(pool.allocate(), InternalError);
  pool.release(a);
  EXPECT_THROW(pool.release(a), InternalError);
  EXPECT_THROW(pool.publish(a, 1), InternalError);
  EXPECT_THROW(pool.release_first(std::vector<BlockId>{a}), InternalError);
}

// Random use against an obvious model: a map of reference counts and of published hashes.
TEST(BlockPool, AgreesWithAnObviousModel) {
  RandomStream random(3, "test");
  BlockPool pool(40);
  pool.watch_reuse();
  std::map<BlockId, int> references;
  std::map<PrefixHash, BlockId> published;
  std::uint64_t next_hash = 1;
  for (int i = 0; i < 20'000; ++i) {
    const auto action = random.uniform_int(0, 4);
    if (action <= 1 && pool.free() > 0) {
      const BlockId block = pool.allocate();
      std::erase_if(published, [&](const auto& entry) { return entry.second == block; });
      references[block] = 1;
      const PrefixHash hash = next_hash++;
      pool.publish(block, hash);
      published[hash] = block;
    } else if (action == 2 && !published.empty()) {
      auto it = published.begin();
      std::advance(it, random.uniform_int(0, static_cast<std::int64_t>(published.size()) - 1));
      ASSERT_EQ(pool.find(it->first), it->second);
      pool.share(it->second);
      ++references[it->second];
    } else if (action == 3) {
      std::vector<BlockId> some;
      pool.allocate(static_cast<std::int32_t>(random.uniform_int(0, pool.free())), some);
      for (const BlockId block : some) {
        std::erase_if(published, [&](const auto& entry) { return entry.second == block; });
        if (random.uniform() < 0.5) pool.publish(block, next_hash++);
      }
      pool.release_first(some);
    } else if (!references.empty()) {
      auto it = references.begin();
      std::advance(it, random.uniform_int(0, static_cast<std::int64_t>(references.size()) - 1));
      pool.release(it->first);
      if (--it->second == 0) references.erase(it);
    }
    ASSERT_EQ(pool.used(), static_cast<std::int32_t>(references.size()));
  }
  pool.check_consistency();
}

}  // namespace
}  // namespace alchemist

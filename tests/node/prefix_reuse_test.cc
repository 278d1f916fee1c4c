// How much of a prefix cache is worth keeping, from hits at distances that the test chooses.
#include "sim/node/prefix_reuse.h"

#include <gtest/gtest.h>

#include <array>

namespace alchemist {
namespace {

constexpr std::int32_t kBlocks = 1'000;

// A block comes free, `distance` - 1 others after it, and then it is hit.
void hit(PrefixReuse& reuse, int distance, int times = 1) {
  for (int i = 0; i < times; ++i) {
    const std::uint32_t freed_at = reuse.on_freed();
    for (int other = 1; other < distance; ++other) reuse.on_freed();
    reuse.on_hit(freed_at);
  }
}

// As that, but it was taken for something else, and its prefix is looked for in vain.
bool miss(PrefixReuse& reuse, int distance) {
  constexpr std::uint64_t kPrefix = 77;
  const std::uint32_t freed_at = reuse.on_freed();
  reuse.on_taken(kPrefix, freed_at);
  for (int other = 1; other < distance; ++other) reuse.on_freed();
  return reuse.on_missed(kPrefix);
}

TEST(PrefixReuse, NothingIsWorthKeepingWithoutHits) {
  PrefixReuse reuse(kBlocks);
  for (int i = 0; i < kBlocks - 1; ++i) reuse.on_freed();
  EXPECT_FALSE(reuse.knows());
  for (int i = 0; i < 10'000; ++i) reuse.on_freed();
  EXPECT_TRUE(reuse.knows());
  EXPECT_FALSE(reuse.on_missed(1));
  EXPECT_EQ(reuse.worth_keeping(), 0);
}

// The classes' edges are a fifth apart.
TEST(PrefixReuse, IsWhatTheFarthestHitsNeed) {
  PrefixReuse reuse(kBlocks);
  hit(reuse, 100, 600);
  EXPECT_GE(reuse.worth_keeping(), 100);
  EXPECT_LE(reuse.worth_keeping(), 120);
  hit(reuse, 400, 600);
  EXPECT_GE(reuse.worth_keeping(), 400);
  EXPECT_LE(reuse.worth_keeping(), 480);
}

TEST(PrefixReuse, OneHitInTwoHundredIsGivenUp) {
  PrefixReuse reuse(kBlocks);
  for (int i = 0; i < 20; ++i) {
    hit(reuse, 900);
    hit(reuse, 50, 199);
  }
  EXPECT_GE(reuse.worth_keeping(), 50);
  EXPECT_LE(reuse.worth_keeping(), 60);
}

// Whoever has taken the cache's memory learns what it cost.
TEST(PrefixReuse, CountsWhatALargerCacheWouldHaveHit) {
  PrefixReuse reuse(kBlocks);
  for (int i = 0; i < 600; ++i) ASSERT_TRUE(miss(reuse, 300));
  EXPECT_FALSE(reuse.on_missed(77)) << "each of them counts once";
  EXPECT_GE(reuse.worth_keeping(), 300);
  EXPECT_LE(reuse.worth_keeping(), 360);
}

TEST(PrefixReuse, NoCacheWouldHaveKeptWhatIsFartherThanAllBlocks) {
  PrefixReuse reuse(kBlocks);
  for (int i = 0; i < 600; ++i) miss(reuse, 2 * kBlocks);
  EXPECT_EQ(reuse.worth_keeping(), 0);
}

// Ten blocks are hit and come free in turn, over and over; every ten rounds one more is, and another comes free that
// nobody asks for. Between two hits of that one a hundred blocks come free, but only ten different ones are free then,
// and those nobody asks for: a cache of twenty-odd blocks has all hits, though the reuse time of some is a hundred.
TEST(PrefixReuse, WhatIsUsedAgainTakesMemoryOnce) {
  PrefixReuse reuse(kBlocks);
  std::array<std::uint32_t, 10> often{};
  for (std::uint32_t& block : often) block = reuse.on_freed();
  std::uint32_t seldom = reuse.on_freed();
  for (int round = 1; round <= 3'000; ++round) {
    for (std::uint32_t& block : often) {
      reuse.on_hit(block);
      block = reuse.on_freed();
    }
    if (round % 10 != 0) continue;
    reuse.on_hit(seldom);
    seldom = reuse.on_freed();
    reuse.on_freed();
  }
  reuse.on_computed(10'000);
  EXPECT_GE(reuse.worth_keeping(), 10);
  EXPECT_LE(reuse.worth_keeping(), 24);
  EXPECT_GT(reuse.lost_share(5, 100), 2.9);
  EXPECT_LT(reuse.lost_share(30, 100), 0.01);
}

// Half of the hits reach back 100 blocks and half 600, and 40 blocks are computed for each of these: a cache between
// them makes that one more in 40, one below both two. As many hits as the model is brought up to date with.
TEST(PrefixReuse, ASmallerCacheComputesWhatItDoesNotHit) {
  PrefixReuse reuse(kBlocks);
  hit(reuse, 100, 513);
  EXPECT_EQ(reuse.lost_share(1, kBlocks), 0) << "nobody has said what is computed";
  hit(reuse, 600, 512);
  reuse.on_computed(40 * 512);
  EXPECT_DOUBLE_EQ(reuse.lost_share(800, kBlocks), 0);
  EXPECT_DOUBLE_EQ(reuse.lost_share(200, kBlocks), 1.0 / 40);
  EXPECT_DOUBLE_EQ(reuse.lost_share(200, 400), 0);
  EXPECT_DOUBLE_EQ(reuse.lost_share(1, kBlocks), 1025.0 / (40 * 512));
  EXPECT_DOUBLE_EQ(reuse.lost_share(-5, 50), 0) << "more than there is";
  const double within = reuse.lost_share(600, kBlocks);
  EXPECT_GT(within, 0) << "a part of its class";
  EXPECT_LT(within, 1.0 / 40);
}

// What was computed fades with the hits.
TEST(PrefixReuse, TheShareIsOfLate) {
  PrefixReuse reuse(kBlocks);
  for (int i = 0; i < 300'000; ++i) {
    hit(reuse, 3);
    reuse.on_computed(10);
    if (i > 2'000) { ASSERT_NEAR(reuse.lost_share(1, kBlocks), 0.1, 0.021) << "up to 256 hits are not known yet"; }
  }
}

TEST(PrefixReuse, ThePastFades) {
  PrefixReuse reuse(kBlocks);
  hit(reuse, 800, 1'000);
  ASSERT_GE(reuse.worth_keeping(), 800);
  hit(reuse, 2, 200'000);
  EXPECT_LE(reuse.worth_keeping(), 4);
}

}  // namespace
}  // namespace alchemist

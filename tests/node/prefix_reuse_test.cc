// How much of a prefix cache is worth keeping, from hits at distances that the test chooses.
#include "sim/node/prefix_reuse.h"

#include <gtest/gtest.h>

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
  for (int i = 0; i < 600; ++i) miss(reuse, kBlocks + 1);
  EXPECT_EQ(reuse.worth_keeping(), 0);
  hit(reuse, 2 * kBlocks, 300);  // it was hit, so a cache of all blocks has kept it
  EXPECT_EQ(reuse.worth_keeping(), kBlocks);
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

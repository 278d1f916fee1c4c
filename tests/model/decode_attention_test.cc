// Hand-computed times on a synthetic profile. The kernel: 4 SMs with one thread block each (4 slots), 2 KV heads. The
// profile: one decode of 100 tokens takes 5 us (launch); four take 6 us at 100 tokens and 10 us at 200, so that
// 2 heads * 4 * (200 - 100) tokens pass in 4 us: 200 tokens of a head a microsecond.
#include "sim/model/decode_attention.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

KernelProfile profile_with(std::vector<UnevenBatch> uneven) {
  KernelProfile profile;
  profile.decode.fill({{{1, 100}, 5.0}, {{1, 200}, 5.5}, {{4, 100}, 6.0}, {{4, 200}, 10.0}});
  profile.uneven = std::move(uneven);
  return profile;
}

constexpr DecodeAttention::Kernel kKernel{
    .processors = 4, .blocks_per_processor = 1, .kv_heads = 2, .max_context = 1000};

// 700 tokens of 2 heads at 200 a microsecond: 5 + 7.
TEST(DecodeAttention, LaunchAndStreaming) {
  const DecodeAttention attention(profile_with({}), kKernel);
  EXPECT_DOUBLE_EQ(attention.at(4, 4, 700, 175), 12);
  EXPECT_DOUBLE_EQ(attention.at(4, 4, 700, 400), 12);  // without uneven batches nothing is known of them
  EXPECT_DOUBLE_EQ(attention.at(1, 1, 100, 100), 6);
}

// Contexts 400, 100, 100, 100: the 8 blocks of 2 heads start with at most (2 - 1) * 4 - 4 = 0 others before the longest
// of the last head, so it begins at 0 and reads 200 / 4 = 50 tokens a microsecond for the 7 us of all the others: 350.
// It owes 50 tokens. The profile says that such a batch takes 2 us longer: a block alone reads 25 tokens a microsecond.
constexpr UnevenBatch kFour{.decodes = 4, .context_sum = 700, .context_max = 400, .extra_us = 2};
// One of 800 and seven of 600 in all: 14 us, of which 4 of the 16 blocks, 3.5 us, pass first; in 10.5 us it reads 525
// of its 800 tokens and owes 275, in 5.5 us: 50 tokens a microsecond.
constexpr UnevenBatch kEight{.decodes = 8, .context_sum = 1400, .context_max = 800, .extra_us = 5.5};

TEST(DecodeAttention, LongestContextOwesTheRest) {
  const DecodeAttention attention(profile_with({kFour}), kKernel);
  EXPECT_DOUBLE_EQ(attention.at(4, 4, 700, 400), 12 + 2);
  EXPECT_DOUBLE_EQ(attention.at(4, 4, 700, 350), 12);      // done just in time
  EXPECT_DOUBLE_EQ(attention.at(4, 4, 700, 450), 12 + 4);  // 100 tokens
  // A single sequence has nobody to wait for.
  EXPECT_DOUBLE_EQ(attention.at(1, 1, 400, 400), 5 + 4);
}

// Six sequences: the rate of a block alone is halfway between those of 4 and of 8, 37.5. Of 10 us, 2 of 12 blocks pass
// first, 1 2/3 us; in 8 1/3 us it reads 416 2/3 tokens of 700. Beyond 8 sequences the rate stays at 50.
TEST(DecodeAttention, RateOfABlockAloneIsInterpolated) {
  const DecodeAttention attention(profile_with({kEight, kFour}), kKernel);
  EXPECT_DOUBLE_EQ(attention.at(8, 8, 1400, 800), 5 + 14 + 5.5);
  EXPECT_NEAR(attention.at(6, 6, 1000, 700), 5 + 10 + (700 - 50 * 25 / 3.0) / 37.5, 1e-9);
  // Ten: 20 us, of which 6 of 20 blocks pass first; the last one reads 700 of its 1,200 tokens in the other 14.
  EXPECT_NEAR(attention.at(10, 10, 2000, 1200), 5 + 20 + 500 / 50.0, 1e-9);
}

// Two batches of four fitted at once: owed 50 and 100 tokens in 2 and 5 us. Least squares weighted by what is owed:
// rate = (50^2 + 100^2) / (50 * 2 + 100 * 5) = 12500 / 600.
TEST(DecodeAttention, FitsSeveralBatchesOfASize) {
  const UnevenBatch longer{.decodes = 4, .context_sum = 700, .context_max = 450, .extra_us = 5};
  const DecodeAttention attention(profile_with({kFour, longer}), kKernel);
  EXPECT_NEAR(attention.at(4, 4, 700, 400), 12 + 50 * 600 / 12500.0, 1e-9);
}

// Two sequences make 4 blocks for 2 * 4 places, fewer than 80 %: with contexts of up to 1000 tokens, 8 steps of 128
// keys, the heuristic splits them, and nothing is owed. Padded to four they are not split: 2 * 4 blocks fill the
// places. Then the longest of 400 and 100 has read 50 * 5 tokens when all is done, and owes 150, at 25 a microsecond.
TEST(DecodeAttention, SplitBatchesOweNothing) {
  const DecodeAttention attention(profile_with({kFour}), kKernel);
  EXPECT_DOUBLE_EQ(attention.at(2, 2, 500, 400), 10);
  EXPECT_DOUBLE_EQ(attention.at(2, 4, 500, 400), 10 + 6);
  // Three make 6 of 8: below 80 % too.
  EXPECT_DOUBLE_EQ(attention.at(3, 3, 700, 600), 12);
}

// With at most 128 tokens there is one step of keys and nothing to split.
TEST(DecodeAttention, ShortContextsAreNotSplit) {
  DecodeAttention::Kernel kernel = kKernel;
  kernel.max_context = 128;
  const DecodeAttention attention(profile_with({kFour}), kernel);
  // 120 and 8 tokens: 1.28 us, in which the longer one reads 64 of its 120; 56 at 25 a microsecond.
  EXPECT_NEAR(attention.at(2, 2, 128, 120), 5 + 1.28 + 56 / 25.0, 1e-9);
}

}  // namespace
}  // namespace alchemist

#include "sim/model/largest_batch.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

// A token has 100 bytes. All fresh: the GPU's 10,000 bytes hold 100 tokens whatever the host has.
TEST(LargestBatch, FreshTokensLieOnTheGpu) {
  EXPECT_EQ(largest_batch_tokens({.gpu = Bytes(10'000), .host = Bytes(1'000'000), .per_token = Bytes(100)}), 100);
  EXPECT_EQ(largest_batch_tokens({.gpu = Bytes(99), .per_token = Bytes(100)}), 0);
  EXPECT_EQ(largest_batch_tokens({.gpu = Bytes(-5), .per_token = Bytes(100)}), 0) << "serving has left nothing";
}

// A fifth fresh, the rest from the host through a window of half the layers: a token takes 20 + 80 / 2 = 60 bytes of
// the GPU, so 166 tokens; they need 166 * 80 = 13,280 bytes of the host.
TEST(LargestBatch, TheHostHoldsTheRest) {
  BatchRoom room{.gpu = Bytes(10'000),
                 .host = Bytes(13'334),
                 .resident = Bytes(0),
                 .per_token = Bytes(100),
                 .fresh_share = 0.2,
                 .record_share = 0.8,
                 .window_share = 0.5};
  EXPECT_EQ(largest_batch_tokens(room), 166);
  // With 8,000 bytes of host memory, 100 tokens come from there and take 6,000 of the GPU. No more without a resident
  // part; with one of 1,600 bytes 20 more (80 bytes each); with much of it 40 more, which fill the GPU.
  room.host = Bytes(8'000);
  EXPECT_EQ(largest_batch_tokens(room), 100);
  room.resident = Bytes(1'600);
  EXPECT_EQ(largest_batch_tokens(room), 120);
  room.resident = Bytes(9'000);
  EXPECT_EQ(largest_batch_tokens(room), 140);
}

// Without a host, records stay on the GPU: 4,000 bytes of records are 50 tokens at 80 resident bytes each.
TEST(LargestBatch, RecordsOnTheGpuAlone) {
  const BatchRoom room{.gpu = Bytes(10'000),
                       .host = Bytes(0),
                       .resident = Bytes(4'000),
                       .per_token = Bytes(100),
                       .fresh_share = 0.2,
                       .record_share = 0.8,
                       .window_share = 0.5};
  EXPECT_EQ(largest_batch_tokens(room), 50);
}

// Of a pair of 30-token prompts and 20-token answers, the prompt's record serves both: of 100 tokens 40 are fresh and
// 30 come from a record, so a token takes 40 + 30 / 2 = 55 bytes of the GPU and 30 of the host.
TEST(LargestBatch, SequencesOfASampleShareTheRecord) {
  const BatchRoom room{.gpu = Bytes(5'500),
                       .host = Bytes(3'000),
                       .per_token = Bytes(100),
                       .fresh_share = 0.4,
                       .record_share = 0.3,
                       .window_share = 0.5};
  EXPECT_EQ(largest_batch_tokens(room), 100);
}

}  // namespace
}  // namespace alchemist

#include "sim/node/micro_batch.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/node/store.h"

namespace alchemist {
namespace {

using Keys = std::vector<double>;  // of each token, in the order of its kind of piece

void add_positions(Keys& keys, int first, int end) {
  for (int position = first; position < end; ++position) keys.push_back(position + 1);
}

// Every piece of this kind that there can be in a layer.
void expect_keys(const MicroBatch& batch, PieceKind kind, const Keys& keys, std::int32_t layer = 0) {
  for (std::size_t first = 0; first <= keys.size(); ++first) {
    for (std::size_t end = first; end <= keys.size(); ++end) {
      TrainingPiece piece;
      piece.kind = kind;
      piece.layer = layer;
      piece.first_token = static_cast<std::int64_t>(first);
      piece.tokens = static_cast<std::int64_t>(end - first);
      const double sum =
          std::accumulate(keys.begin() + piece.first_token, keys.begin() + piece.first_token + piece.tokens, 0.0);
      ASSERT_EQ(batch.keys_of(piece), sum) << first << " to " << end;
    }
  }
}

// Sample 1: tokens 16 to 39 of its prompt have a record here; two other answers share all of its prompt. Sample 2: the
// record of its prompt is on the host alone. Sample 3 has none.
TEST(MicroBatch, PiecesAttendToTheKeysOfTheirTokens) {
  testing::Store s("eager", 20);
  s.record(2);
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  std::vector<BlockId> taken;
  while (s.pool.free() > 0) taken.push_back(s.pool.allocate());
  s.store->reclaim(Time(), 4, false);
  ASSERT_EQ(s.store->gpu_bytes(), Bytes());
  for (const BlockId block : taken) s.pool.release(block);
  s.record(1, 16);
  MicroBatch batch;
  batch.add({RequestId(1), SessionId(1), 40, 10, 2, 7});
  batch.add({RequestId(2), SessionId(2), 40, 5, 0, 0});
  batch.add({RequestId(3), SessionId(3), 8, 4, 0, 0});
  batch.acquire(*s.store, WeightVersion(), 1);
  ASSERT_EQ(batch.resident, 24);
  ASSERT_EQ(batch.copies, 80);
  ASSERT_EQ(batch.host, 40);
  ASSERT_EQ(batch.fresh, (16 + 10) + 2 * 7 + 5 + 12);

  Keys all, distinct, fresh, not_here, recorded;
  for (const int length : {50, 47, 47, 45, 12}) add_positions(all, 0, length);
  add_positions(distinct, 0, 50);
  for (int i = 0; i < 2; ++i) add_positions(distinct, 40, 47);
  for (const int length : {45, 12}) add_positions(distinct, 0, length);
  add_positions(fresh, 0, 16);
  for (const int length : {50, 47, 47, 45}) add_positions(fresh, 40, length);
  add_positions(fresh, 0, 12);
  not_here = fresh;  // and the second sample's prompt in front of its answer
  Keys on_host;
  add_positions(on_host, 0, 40);
  not_here.insert(not_here.end() - 5 - 12, on_host.begin(), on_host.end());
  add_positions(recorded, 16, 40);
  add_positions(recorded, 0, 40);
  expect_keys(batch, PieceKind::kReference, distinct);
  expect_keys(batch, PieceKind::kForward, fresh);
  batch.recompute_below = 1;
  expect_keys(batch, PieceKind::kForward, not_here, 0);
  expect_keys(batch, PieceKind::kForward, fresh, 1);
  batch.recompute_below = 0;
  expect_keys(batch, PieceKind::kBackward, {all.rbegin(), all.rend()});
  for (const PieceKind kind : {PieceKind::kHead, PieceKind::kReferenceHead}) expect_keys(batch, kind, Keys(26));
  EXPECT_EQ(batch.recorded_keys, std::accumulate(recorded.begin(), recorded.end(), 0.0));

  // The micro-batch did not begin, and looks its records up again later.
  s.store->put_back(batch.records);
  batch.acquire(*s.store, WeightVersion(), 1);
  expect_keys(batch, PieceKind::kForward, fresh);
}

// Rows by the lag of their record, with weights of version 2: of the first sample and its two other answers 2 0, three
// times; of the second, whose record is of these weights, 0; of the third 0 1 0. None where nothing is recorded.
TEST(MicroBatch, CountsWhereWeightsOfRecordsChange) {
  testing::Store s("stay", 20);
  s.record_of(1, 1, 0, 40, 0);
  s.record_of(2, 2, 0, 40, 2);
  s.record_of(3, 3, 16, 40, 1);
  MicroBatch batch;
  batch.add({RequestId(1), SessionId(1), 40, 10, 2, 7});
  batch.add({RequestId(2), SessionId(2), 40, 10, 0, 0});
  batch.add({RequestId(3), SessionId(3), 40, 10, 0, 0});
  batch.acquire(*s.store, WeightVersion(2), 9);
  EXPECT_EQ(batch.version_changes, 5 + 2);
  batch.recompute_below = 1;
  const auto of = [&](PieceKind kind, std::int32_t layer) {
    TrainingPiece piece;
    piece.kind = kind;
    piece.layer = layer;
    return batch.version_changes_of(piece);
  };
  for (const std::int32_t layer : {0, 1}) {
    EXPECT_EQ(of(PieceKind::kBackward, layer), 7);
    EXPECT_EQ(of(PieceKind::kForward, layer), layer == 0 ? 7 : 0) << "run again below the first layer that is not";
    for (const PieceKind kind : {PieceKind::kReference, PieceKind::kHead}) EXPECT_EQ(of(kind, layer), 0);
  }
  s.store->put_back(batch.records);
  batch.acquire(*s.store, WeightVersion(2), 1);
  EXPECT_EQ(batch.version_changes, 2) << "a record that is too old is not used";
  MicroBatch fresh;
  fresh.add({RequestId(4), SessionId(4), 40, 10, 2, 7});
  fresh.acquire(*s.store, WeightVersion(2), 9);
  EXPECT_EQ(fresh.version_changes, 0);
}

}  // namespace
}  // namespace alchemist

// What the decision on a record is shown: rates of late, what feedback has taught, and what a lean record is worth.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <utility>

#include "tests/node/piece_times.h"
#include "tests/node/store.h"

namespace alchemist {
namespace {

using testing::Store;

// Rates fade by 1/e in 120 s (token_rate.h): `tokens` at one moment, 60 s ago and the first of all.
double rate_a_minute_later(double tokens) { return tokens * std::exp(-0.5) / (120 * (1 - std::exp(-0.5))); }

class LastView final : public RecordDecision {
 public:
  RecordChoice choose(const RecordView& view) override {
    seen = view;
    if (view.feedback) wanted_within_an_hour = view.feedback->wanted_within(3'600);
    return choice;
  }
  RecordView seen;
  double wanted_within_an_hour = 0;
  RecordChoice choice = RecordChoice::kMinimal;
};

LastView& watch(Store& s) {
  auto decision = std::make_unique<LastView>();
  LastView& view = *decision;
  s.policy.record = std::move(decision);
  return view;
}

// Half of the first prompt is in the prefix cache without a record: it is not whole, and says nothing of the rate of
// those that are. So does the second, of which nothing is kept; the third, at the same time, is whole: 40 tokens. All
// that was to be recorded found room.
TEST(RecordView, OffersAreTheTokensOfWholePrompts) {
  Store s("stay", 40);
  LastView& view = watch(s);
  const Time later = Time() + Duration::seconds(60);
  s.record(1, 20);
  view.choice = RecordChoice::kNothing;
  EXPECT_FALSE(s.store->begin(later, Store::arrival(2), 20, 40, WeightVersion()));
  s.store->begin(later, Store::arrival(3), 0, 40, WeightVersion());
  EXPECT_NEAR(view.seen.kept_share, 1, 1e-9);
  EXPECT_NEAR(view.seen.whole_per_s, 40 / (120 * (1 - std::exp(-0.5))), 1e-6);
}

// 120 tokens trained a minute ago.
TEST(RecordView, TrainedTokensAreTold) {
  Store s("stay", 60);
  LastView& view = watch(s);
  s.policy.train = make_train_decision("idle");
  const testing::TimeOfTokens times;
  Trainer trainer(testing::two_layers(100), s.pool, *s.store, s.policy, times, s.host);
  trainer.on_feedback(Time(), {RequestId(7), SessionId(7), 60, 60, 0, 0});
  while (const auto piece = trainer.next_piece(Time(), true)) {
    trainer.on_piece_submitted();
    trainer.on_piece_done(Time(), *piece, times.piece(*piece));
  }
  s.store->begin(Time() + Duration::seconds(60), Store::arrival(2), 0, 40, WeightVersion());
  EXPECT_NEAR(view.seen.trained_per_s, rate_a_minute_later(120), 1e-6);
}

// Feedback comes on each of 200 records, and its sample is trained a second later. That the record then goes does not
// say that its feedback never came.
TEST(RecordView, TheFateOfARecordIsLearntOnce) {
  Store s("stay", 40);
  LastView& view = watch(s);
  for (std::uint32_t request = 1; request <= 200; ++request) {
    const Time now = Time() + Duration::seconds(10.0 * request);
    const auto id = s.store->begin(now, Store::arrival(request), 0, 40, WeightVersion());
    ASSERT_TRUE(id);
    s.store->extend(now, *id, 40);
    s.store->complete(now, *id);
    s.store->on_feedback(now + Duration::seconds(1), {RequestId(request), SessionId(request), 40, 30, 0, 0});
    s.store->end_of_use(now + Duration::seconds(2), RequestId(request));
  }
  EXPECT_GT(view.wanted_within_an_hour, 0.9999);
}

// Of two records one is copied; of 100 tokens that came to training with a record 25 used it.
TEST(RecordView, TellsWhatIsCopiedAndUsed) {
  Store s("eager", 40);
  LastView& view = watch(s);
  s.record(1);
  EXPECT_EQ(view.seen.copied_share, 1) << "as long as nothing is known";
  EXPECT_EQ(view.seen.used_share, 1);
  s.policy.place = make_place_decision("stay");
  s.record(2);
  s.store->on_used(Time() + Duration::seconds(1), 60, 5);
  s.store->on_used(Time() + Duration::seconds(1), 40, 20);
  s.store->begin(Time() + Duration::seconds(2), Store::arrival(3), 0, 40, WeightVersion());
  EXPECT_DOUBLE_EQ(view.seen.copied_share, 0.5);
  EXPECT_DOUBLE_EQ(view.seen.used_share, 0.25);
}

// What has been trained makes room for others: it is as good as free.
TEST(RecordView, TrainedRecordsCountAsFree) {
  Store s("eager", 40);
  LastView& view = watch(s);
  s.record(1);
  ASSERT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  s.record(2);
  s.store->begin(Time(), Store::arrival(3), 0, 40, WeightVersion());
  const Bytes before = view.seen.free;
  s.store->end_of_use(Time(), RequestId(1));
  s.store->begin(Time(), Store::arrival(4), 0, 40, WeightVersion());
  EXPECT_EQ(view.seen.free, before + Bytes(800)) << "on the GPU and on the host";
}

// Samples are trained 3 s after their feedback, again and again.
TEST(RecordView, TellsHowLongSamplesStandInLine) {
  Store s("stay", 40);
  LastView& view = watch(s);
  for (std::uint32_t request = 1; request <= 200; ++request) {
    const Time now = Time() + Duration::seconds(10.0 * request);
    s.record(request);
    s.store->on_feedback(now, {RequestId(request), SessionId(request), 40, 30, 0, 0});
    s.store->end_of_use(now + Duration::seconds(3), RequestId(request));
  }
  s.record(201);
  EXPECT_NEAR(view.seen.queued_s, 3, 1e-3);
}

// Half of the sample's tokens have a lean record, which saves 0.6 of their forward.
TEST(RecordView, ALeanRecordCountsByWhatItSaves) {
  Store s("stay", 20);
  s.policy.record = make_record_decision("lean");
  StoreConfig config;
  config.page_bytes = Bytes(100);
  config.max_pages = 10;
  config.lean_per_token = Bytes(4);
  config.minimal_per_token = Bytes(10);
  config.lean_saving = 0.6;
  ActivationStore store(config, s.pool, s.policy, s.host);
  const auto id = store.begin(Time(), Store::arrival(1), 0, 40, WeightVersion());
  ASSERT_TRUE(id);
  store.extend(Time(), *id, 40);
  store.complete(Time(), *id);
  EXPECT_NEAR(store.saved_share({RequestId(1), SessionId(1), 40, 40, 0, 0}, {}, 1), 0.3, 1e-9);
}

}  // namespace
}  // namespace alchemist

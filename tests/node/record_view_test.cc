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
  for (const bool hedged : {true, false}) {
    Store s(hedged ? "eager" : "stay", 40);
    LastView& view = watch(s);
    s.record(1);
    ASSERT_TRUE(!hedged || s.store->on_copy_done(Time(), s.host.last()));
    s.record(2);
    s.store->begin(Time(), Store::arrival(3), 0, 40, WeightVersion());
    const Bytes before = view.seen.free;
    s.store->end_of_use(Time(), RequestId(1));
    EXPECT_EQ(s.store->gpu_bytes(), Bytes(hedged ? 400 : 800)) << "without a copy it stays while there is memory";
    s.store->begin(Time(), Store::arrival(4), 0, 40, WeightVersion());
    EXPECT_EQ(view.seen.free, before + Bytes(hedged ? 800 : 400)) << "on the GPU and on the host, or on the GPU alone";
  }
}

// Forty pages of 100 bytes on the GPU, ten on the host where records may go there.
TEST(RecordView, CapacityIsOfWhereRecordsMayLie) {
  for (const bool host : {true, false}) {
    Store s(host ? "eager" : "stay", 40);
    LastView& view = watch(s);
    s.record(1);
    EXPECT_EQ(view.seen.capacity, Bytes(host ? 5'000 : 4'000));
    EXPECT_EQ(view.seen.free, view.seen.capacity);
    EXPECT_EQ(view.seen.copy_bandwidth < 1e12, host) << "what goes nowhere takes no time";
  }
}

// Lean records save 0.6 of the forward.
StoreConfig store_with_lean_saving() {
  StoreConfig config;
  config.page_bytes = Bytes(100);
  config.max_pages = 10;
  config.lean_per_token = Bytes(4);
  config.minimal_per_token = Bytes(10);
  config.lean_saving = 0.6;
  return config;
}

// What is not counted but set, or told from outside.
TEST(RecordView, TellsWhatRecordingCosts) {
  Store s("stay", 40);
  LastView& view = watch(s);
  StoreConfig config = store_with_lean_saving();
  config.forward_per_token_s = 1e-4;
  config.record_step_s = 2e-3;
  config.copy_costs = 0.25;
  ActivationStore store(config, s.pool, s.policy, s.host);
  store.set_decoding(7);
  store.begin(Time(), Store::arrival(1), 0, 40, WeightVersion());
  EXPECT_EQ(view.seen.tokens, 40);
  EXPECT_EQ(view.seen.lean_bytes, Bytes(160));
  EXPECT_EQ(view.seen.minimal_bytes, Bytes(400));
  EXPECT_EQ(view.seen.lean_saving, 0.6);
  EXPECT_EQ(view.seen.forward_s, 1e-4);
  EXPECT_EQ(view.seen.step_s, 2e-3);
  EXPECT_EQ(view.seen.copy_costs, 0.25);
  EXPECT_EQ(view.seen.decoding, 7);
}

// The second turn's first 40 tokens are in the prefix cache, and are not computed: with a record of the turn before,
// the prompt is recorded whole.
TEST(RecordView, RecordsOfEarlierTurnsMakeAPromptWhole) {
  for (const std::uint32_t session : {9, 10}) {
    Store s("stay", 40);
    LastView& view = watch(s);
    s.record_of(1, 9, 0, 40, 0);
    s.record_of(2, session, 40, 80, 0);
    EXPECT_EQ(view.seen.whole, session == 9);
  }
}

// With each of 40 tokens of a prompt half a token of its answer was recorded: what is offered is half as much more.
TEST(RecordView, AnswersAreOfferedWithTheirPrompts) {
  double offered[2] = {0, 0};
  for (const bool answers : {false, true}) {
    Store s("stay", 40);
    LastView& view = watch(s);
    s.record(1);
    if (answers) s.store->complete_answer(Time(), s.begin_answer(1, 20, false), 20);
    s.store->begin(Time() + Duration::seconds(60), Store::arrival(2), 0, 40, WeightVersion());
    offered[answers ? 1 : 0] = view.seen.whole_per_s;
  }
  EXPECT_GT(offered[0], 0);
  EXPECT_NEAR(offered[1] / offered[0], 1.5, 1e-9);
}

// Feedback came on a hundred records within a second, and on as many others it has not come in 1,000 s: these are
// there still, or have been dropped. Of those that live to the last 0.3 of that second half see feedback come, so
// that the chance is about 1 - exp(-1 / 2); without the others it would be certain.
TEST(RecordView, RecordsThatWaitInVainAreLearntFrom) {
  for (const bool dropped : {false, true}) {
    Store s("stay", 1'000);
    LastView& view = watch(s);
    for (std::uint32_t request = 1; request <= 200; ++request) s.record(request);
    for (std::uint32_t request = 1; request <= 100; ++request) {
      s.store->on_feedback(Time() + Duration::seconds(1), {RequestId(request), SessionId(request), 40, 30, 0, 0});
      s.store->end_of_use(Time() + Duration::seconds(1), RequestId(request));
    }
    const Time later = Time() + Duration::seconds(1'000);
    if (dropped) s.store->reclaim(later, 800, true);
    EXPECT_EQ(s.store->live_records(), dropped ? 0 : 200);
    for (std::uint32_t request = 201; request <= 232; ++request) {
      s.store->begin(later, Store::arrival(request), 0, 40, WeightVersion());
    }
    EXPECT_NEAR(view.wanted_within_an_hour, 1 - std::exp(-0.5), 0.03) << dropped;
  }
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
  ActivationStore store(store_with_lean_saving(), s.pool, s.policy, s.host);
  const auto id = store.begin(Time(), Store::arrival(1), 0, 40, WeightVersion());
  ASSERT_TRUE(id);
  store.extend(Time(), *id, 40);
  store.complete(Time(), *id);
  EXPECT_NEAR(store.saved_share({RequestId(1), SessionId(1), 40, 40, 0, 0}, {}, 1), 0.3, 1e-9);
}

}  // namespace
}  // namespace alchemist

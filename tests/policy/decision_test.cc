// Single decisions, each shown a present of which the right answer can be told.
#include <gtest/gtest.h>

#include "sim/policy/decision_registry.h"

namespace alchemist {
namespace {

// Decode steps of 5 ms; the longest few percent of steps take 30 ms.
TrainPieceView decoding() {
  TrainPieceView view;
  view.decode_step = Duration::milliseconds(5);
  view.tail_step = Duration::milliseconds(30);
  view.running = 8;
  view.token_budget = 2'048;
  return view;
}

TEST(Headroom, ABudgetLeavesWhatTheNextStepDoesNotNeed) {
  const auto train = make_train_decision("headroom");
  TrainPieceView view = decoding();
  view.max_itl = Duration::milliseconds(20);
  EXPECT_EQ(train->allow(view).time, Duration::milliseconds(15));
  view.gap_used = Duration::milliseconds(4);
  EXPECT_EQ(train->allow(view).time, Duration::milliseconds(11));
  EXPECT_EQ(train->allow(view).cut_from, Duration());
  view.prompt_waits = true;
  EXPECT_EQ(train->allow(view).time, Duration());
}

// Hidden, it spends what it has saved up, in gaps that stay below the tail; what it cuts fills such a gap.
TEST(Headroom, HiddenSpendsWhatIsSaved) {
  const auto train = make_train_decision("headroom");
  TrainPieceView view = decoding();
  EXPECT_EQ(train->allow(view).time, Duration());
  view.saved = Duration::milliseconds(3);
  EXPECT_EQ(train->allow(view).time, Duration::milliseconds(3));
  EXPECT_EQ(train->allow(view).cut_from, Duration::milliseconds(25));
  view.saved = Duration::milliseconds(29);
  EXPECT_EQ(train->allow(view).time, Duration::milliseconds(25));
  EXPECT_EQ(train->allow(view).cut_from, Duration::milliseconds(25));
  view.tail_step = Duration();  // not known yet
  EXPECT_LE(train->allow(view).time, Duration());
}

TEST(Headroom, AnIdleGpuIsTrainings) {
  const auto train = make_train_decision("headroom");
  TrainPieceView view = decoding();
  view.serving_idle = true;
  EXPECT_GT(train->allow(view).time, Duration());
  EXPECT_TRUE(train->allow(view).smallest_part);
  view.serving_idle = false;
  EXPECT_FALSE(train->allow(view).smallest_part);
}

TEST(TokenFill, FillsTheBudgetOfTokens) {
  const auto train = make_train_decision("token_fill");
  TrainPieceView view = decoding();
  EXPECT_EQ(train->allow(view).tokens, 2'040);
  view.prompt_waits = true;
  EXPECT_EQ(train->allow(view).time, Duration());
}

// Training in the gaps of serving alone waits until no request is left, decoding ones included.
TEST(Idle, WaitsForTheLastRequest) {
  const auto train = make_train_decision("idle");
  TrainPieceView view = decoding();
  EXPECT_EQ(train->allow(view).time, Duration());
  view.serving_idle = true;
  EXPECT_GT(train->allow(view).time, Duration());
}

// Beside decode steps it runs all the time, beside prompts it does not.
TEST(Beside, StandsBackForPrompts) {
  const auto train = make_train_decision("beside");
  ASSERT_TRUE(train->beside_serving());
  TrainPieceView view = decoding();
  EXPECT_EQ(train->allow(view).time, Duration::max());
  view.prompt_waits = true;
  EXPECT_EQ(train->allow(view).time, Duration());
}

// Before anything was trained everything is recorded, to learn from; but once the fate of records is known and memory
// is full of some that nobody has trained, recording more would only cost serving.
TEST(AdaptiveRecord, StopsWhereTrainingNeverGetsOn) {
  const auto record = make_record_decision("adaptive");
  FeedbackModel feedback;
  RecordView view;
  view.tokens = 1'000;
  view.lean_bytes = Bytes(40'000);
  view.minimal_bytes = Bytes(100'000);
  view.capacity = Bytes(10'000'000);
  view.whole_per_s = 1'000;
  view.whole = true;
  view.copy_bandwidth = 1e9;
  view.feedback = &feedback;
  view.free = Bytes(200'000);
  EXPECT_EQ(record->choose(view), RecordChoice::kMinimal);
  view.free = Bytes(50'000);
  EXPECT_EQ(record->choose(view), RecordChoice::kLean);
  for (int i = 0; i < 100; ++i) feedback.learn(Duration::seconds(10), true);
  ASSERT_TRUE(feedback.knows());
  EXPECT_EQ(record->choose(view), RecordChoice::kNothing);
  view.free = Bytes(200'000);
  EXPECT_EQ(record->choose(view), RecordChoice::kMinimal);
}

// How many of 160 prompts are recorded.
int recorded_of_160(const RecordView& view) {
  const auto record = make_record_decision("adaptive");
  int recorded = 0;
  for (int i = 0; i < 160; ++i) recorded += record->choose(view) != RecordChoice::kNothing ? 1 : 0;
  return recorded;
}

// Feedback comes on every prompt, after 10 s.
FeedbackModel after_ten_seconds() {
  FeedbackModel feedback;
  for (int i = 0; i < 100; ++i) feedback.learn(Duration::seconds(10), true);
  return feedback;
}

// Prompts of 1,000 tokens, so many a second; records of 40 or 100 bytes a token.
RecordView thousand_a_second(const FeedbackModel& feedback) {
  RecordView view;
  view.tokens = 1'000;
  view.lean_bytes = Bytes(40'000);
  view.minimal_bytes = Bytes(100'000);
  view.lean_saving = 0.5;
  view.capacity = view.free = Bytes(100'000'000);
  view.whole_per_s = view.trained_per_s = 1'000;
  view.whole = true;
  view.copy_bandwidth = 1e9;
  view.feedback = &feedback;
  return view;
}

// Feedback on every prompt after 10 s; 1,000 tokens a second are offered in prompts of 1,000, of 40 or 100 bytes a
// token. Memory is ample: what is recorded follows what training takes, with a reserve of a quarter, in steps of a
// factor of 1.41; where only half of the records find room on the GPU, twice as many are begun; and with memory for
// 2,000 lean tokens, which nothing can wait in for 10 s, hardly anything is.
TEST(AdaptiveRecord, FollowsTrainingRoomAndMemory) {
  const FeedbackModel feedback = after_ten_seconds();
  RecordView view = thousand_a_second(feedback);
  view.trained_per_s = 2'000;
  EXPECT_EQ(recorded_of_160(view), 160);
  view.trained_per_s = 200;
  EXPECT_NEAR(recorded_of_160(view), 0.25 * 160, 0.07 * 160);
  view.kept_share = 0.5;
  EXPECT_NEAR(recorded_of_160(view), 0.5 * 160, 0.14 * 160);
  view.kept_share = 1;
  view.trained_per_s = 2'000;
  view.capacity = view.free = Bytes(80'000);
  EXPECT_LT(recorded_of_160(view), 0.3 * 160);
}

// As above, with memory for 15,000 minimal tokens and training that takes all: they wait for some 10 s, and all fit.
RecordView just_enough_memory(const FeedbackModel& feedback) {
  RecordView view = thousand_a_second(feedback);
  view.lean_saving = 0.9;
  view.capacity = view.free = Bytes(1'500'000);
  view.forward_s = 1e-3;
  EXPECT_EQ(make_record_decision("adaptive")->choose(view), RecordChoice::kMinimal);
  return view;
}

// Where samples stand in line for as long again they do not, and lean records save more.
TEST(AdaptiveRecord, ARecordStandsInLineForTraining) {
  const FeedbackModel feedback = after_ten_seconds();
  RecordView view = just_enough_memory(feedback);
  view.queued_s = 10;
  EXPECT_EQ(make_record_decision("adaptive")->choose(view), RecordChoice::kLean);
}

// Where the same tokens come in prompts of 4,000, three of the 3.75 records that memory holds are being made or copied,
// or find no room as a whole; of 9 lean ones enough are left.
TEST(AdaptiveRecord, ARecordComesAndGoesAsAWhole) {
  const FeedbackModel feedback = after_ten_seconds();
  RecordView view = just_enough_memory(feedback);
  view.tokens = 4'000;
  view.lean_bytes = Bytes(160'000);
  view.minimal_bytes = Bytes(400'000);
  EXPECT_EQ(make_record_decision("adaptive")->choose(view), RecordChoice::kLean);
}

// A thousand tokens a second, all trained; a record saves a millisecond of forward a token. Copying it takes 0.1 ms if
// it is lean and 0.25 ms if not, and slows the GPU by a twentieth meanwhile: nothing to speak of. Where one in two
// hundred is used, or forward takes a microsecond, that costs more than it saves; but now and then one is made, to see
// whether that is still so.
TEST(AdaptiveRecord, StopsWhereCopiesCostMoreThanTheySave) {
  const FeedbackModel feedback = after_ten_seconds();
  RecordView view = thousand_a_second(feedback);
  view.forward_s = 1e-3;
  view.copied_share = 1;
  view.copy_costs = 0.05;
  view.copy_bandwidth = 400e3;
  EXPECT_EQ(recorded_of_160(view), 160);
  view.used_share = 0.005;
  EXPECT_EQ(recorded_of_160(view), 160 / 32);
  view.used_share = 1;
  view.forward_s = 1e-6;
  EXPECT_EQ(recorded_of_160(view), 160 / 32);
  view.copied_share = 0.001;
  EXPECT_EQ(recorded_of_160(view), 160) << "nearly all stay on the GPU";
}

// The link carries 50,000 bytes a second, of which copies may take 0.8: 400 tokens of the 1,000 that training would
// take.
TEST(AdaptiveRecord, CopiesKeepToTheLink) {
  const FeedbackModel feedback = after_ten_seconds();
  RecordView view = thousand_a_second(feedback);
  view.lean_bytes = view.minimal_bytes;
  view.trained_per_s = 2'000;
  view.copy_bandwidth = 50e3;
  EXPECT_NEAR(recorded_of_160(view), 0.4 * 160, 1);
}

// A prompt that would not be recorded whole is so only where those that would do not suffice for what training takes.
TEST(AdaptiveRecord, PartsOfPromptsComeLast) {
  const FeedbackModel feedback = after_ten_seconds();
  RecordView view = thousand_a_second(feedback);
  view.whole = false;
  view.trained_per_s = 200;
  EXPECT_EQ(recorded_of_160(view), 0);
  view.trained_per_s = 2'000;
  EXPECT_EQ(recorded_of_160(view), 160);
}

// Training takes half of what is offered; 0.7 of it is recorded, so that 0.7 of that is used. Ten requests decode: a
// step that records 10 * 0.7 tokens saves training some 5 ms of forward. It pays if it takes less longer. Where
// training would take twice what there is, memory is worth more to prompts, however little it takes.
TEST(AdaptiveRecord, AnswersAreRecordedWhereThatPays) {
  const FeedbackModel feedback = after_ten_seconds();
  const auto answer_too = [&](double trained_per_s, double step_s) {
    RecordView view = thousand_a_second(feedback);
    view.forward_s = 1e-3;
    view.decoding = 10;
    view.trained_per_s = trained_per_s;
    view.step_s = step_s;
    const auto record = make_record_decision("adaptive");
    record->choose(view);
    return record->answer_too();
  };
  EXPECT_TRUE(answer_too(500, 4e-3));
  EXPECT_FALSE(answer_too(500, 6e-3));
  EXPECT_FALSE(answer_too(2'000, 1e-6));
}

// Feedback comes 8 to 11 s after the answer on all of 1,000 tokens a second, and training takes 100: of twice as many
// the best are taken, which are those that are needed first, if they are whole. Where training takes all that is whole
// and more, others come too, however late they are needed; but then memory is short, and answers are left out.
TEST(ForeseenRecord, WhatIsNeededFirstAsMuchAsTrainingTakes) {
  const FeedbackModel feedback = after_ten_seconds();
  const auto record = make_record_decision("foreseen");
  RecordView view = thousand_a_second(feedback);
  view.foresees = true;
  const auto recorded = [&](bool whole, double needed_in_s, double trained_per_s) {
    view.whole = whole;
    view.needed_in = Duration::seconds(needed_in_s);
    view.trained_per_s = trained_per_s;
    return record->choose(view) != RecordChoice::kNothing;
  };
  EXPECT_TRUE(recorded(true, 8.2, 100));
  EXPECT_TRUE(record->answer_too());
  EXPECT_FALSE(recorded(true, 10, 100));
  EXPECT_FALSE(recorded(false, 8.2, 100));
  EXPECT_TRUE(recorded(false, 1'000, 1'000));
  EXPECT_FALSE(record->answer_too());
  view.needed_in.reset();
  EXPECT_EQ(record->choose(view), RecordChoice::kNothing);
}

// 40 tokens through all layers are what a step of 64 with 24 requests leaves. When so many have gone through since the
// last one, nothing more runs before the next, unless nobody waits for it.
TEST(TokenFill, FillsAStepOnce) {
  const auto train = make_train_decision("token_fill");
  TrainPieceView view = decoding();
  view.token_budget = 64;
  view.running = 24;
  view.tokens_used = 39.75;
  EXPECT_EQ(train->allow(view).tokens, 40);
  EXPECT_GT(train->allow(view).time, Duration());
  view.tokens_used = 40;
  EXPECT_EQ(train->allow(view).time, Duration());
  view.serving_idle = true;
  EXPECT_GT(train->allow(view).time, Duration());
}

// There is no room on the GPU. A copy that a link 6 s behind would make comes too late.
TEST(Tiered, RecordsStayWhereTheLinkIsFarBehind) {
  const auto place = make_place_decision("tiered");
  PlaceView view;
  view.room = Bytes();
  view.link_backlog_s = 6;
  EXPECT_EQ(place->on_recorded(view), PlaceChoice::kStay);
  view.link_backlog_s = 1;
  EXPECT_EQ(place->on_recorded(view), PlaceChoice::kCopyNow);
}

// The second copy is made at once, unless the link is 6 s behind. On the GPU the first one stays where the prefix cache
// makes no use of its memory.
TEST(Eager, CopiesAtOnceUnlessTheLinkIsFarBehind) {
  const auto place = make_place_decision("eager");
  PlaceView view;
  view.link_backlog_s = 1;
  EXPECT_EQ(place->on_recorded(view), PlaceChoice::kCopyNow);
  view.link_backlog_s = 6;
  EXPECT_EQ(place->on_recorded(view), PlaceChoice::kStay);
  EXPECT_TRUE(place->keep_after_copy(view));
  view.missed = true;
  EXPECT_FALSE(place->keep_after_copy(view));
}

// Four layers of 1 s forward and backward: a link of 10 s a layer is slower than forward again, one of 0.1 s faster.
TEST(Hedged, TakesTheFasterWay) {
  const auto restore = make_restore_decision("hedged");
  LayerTimes times{.layers = 4, .forward = 1, .backward = 1, .reload_full = 10};
  times.reload_lean = 5;
  times.rebuild_gate_up = 1;
  times.head = 1;
  EXPECT_EQ(restore->choose(std::vector{RestoreProblem(times)}).layers[0].source, LayerSource::recompute);
  times.reload_full = 0.1;
  times.reload_lean = 0.05;
  EXPECT_EQ(restore->choose(std::vector{RestoreProblem(times)}).layers[0].source, LayerSource::reload);
}

// Four layers of 4 s over the link. Forward and backward take 1 s each, or 3 where serving takes most of the GPU.
// Recomputing takes 4 + 4 or 12 + 12 s. Reloading takes 16 + 1 s while serving leaves the GPU alone and 16 + 3 s while
// it does not: it is better then by 5 s, and worse by 9 s else. At their mean pace of 2 it would be 18 s for 16.
TEST(Hedged, WeighsHowTheMicroBatchMayGo) {
  const auto restore = make_restore_decision("hedged");
  const LayerTimes fast{.layers = 4, .forward = 1, .backward = 1, .reload_full = 4, .reload_lean = 4};
  LayerTimes slow = fast;
  slow.forward = slow.backward = 3;
  const auto source = [&](const std::vector<RestoreProblem>& outlook) {
    return restore->choose(outlook).layers[0].source;
  };
  EXPECT_EQ(source({slow}), LayerSource::reload);
  EXPECT_EQ(source({fast, slow}), LayerSource::recompute);
  EXPECT_EQ(source({slow, fast}), LayerSource::recompute);
  EXPECT_EQ(source({slow, fast, slow}), LayerSource::reload) << "27 + 24 against 17 + 19 + 19";
}

// What is needed later goes earlier, what nobody ever needs first of all.
TEST(Farthest, WhatIsNeededLatestGoesFirst) {
  const auto evict = make_evict_decision("farthest");
  EvictView soon, later, never;
  soon.needed_in = Duration::seconds(1);
  later.needed_in = Duration::seconds(100);
  EXPECT_GT(evict->value(soon), evict->value(later));
  EXPECT_GT(evict->value(later), evict->value(never));
}

// The first would be needed soon, had a training step not passed it over.
TEST(Farthest, WhatIsPassedOverGoesFirst) {
  const auto evict = make_evict_decision("farthest");
  EvictView passed_over, later;
  passed_over.needed_in = Duration::seconds(1);
  passed_over.passed_over = true;
  later.needed_in = Duration::seconds(100);
  EXPECT_LT(evict->value(passed_over), evict->value(later));
}

}  // namespace
}  // namespace alchemist

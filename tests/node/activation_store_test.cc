#include "sim/node/activation_store.h"

#include <gtest/gtest.h>

#include "tests/node/store.h"

namespace alchemist {
namespace {

using testing::ask_in_turn;
using testing::Store;

// Serving is short of 4 blocks in a burst. The hedged record has its copy on the host already, so its memory is free at
// once and nothing moves.
TEST(ActivationStore, HedgedRecordGivesWayAtOnce) {
  Store s("eager");
  s.record(1);
  ASSERT_EQ(s.host.copies.size(), 1u);
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  while (s.pool.free() > 0) s.pool.allocate();
  s.store->reclaim(Time(), 4, false);
  EXPECT_EQ(s.pool.free(), 4);
  EXPECT_EQ(s.host.copies.size(), 1u);
  EXPECT_EQ(s.store->host_bytes(), Bytes(400));
  EXPECT_EQ(s.store->gpu_bytes(), Bytes());
  s.store->check_consistency();
}

// Without a copy serving waits for one to be made, and the memory is free when it is done.
TEST(ActivationStore, RecordWithoutCopyMakesServingWait) {
  Store s("pressure");
  s.record(1);
  EXPECT_TRUE(s.host.copies.empty());
  while (s.pool.free() > 0) s.pool.allocate();
  s.store->reclaim(Time(), 4, false);
  EXPECT_EQ(s.pool.free(), 0) << "the copy is on its way";
  ASSERT_EQ(s.host.copies, std::vector<std::string>{"out 0: 400"});
  s.store->reclaim(Time(), 4, false);
  EXPECT_EQ(s.host.copies.size(), 1u) << "what is coming is not asked for again";
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  EXPECT_EQ(s.pool.free(), 4);
  s.store->check_consistency();
}

// A decoding request cannot wait: what has no copy is dropped.
TEST(ActivationStore, UrgentNeedDropsTheRecord) {
  Store s("pressure");
  s.record(1);
  while (s.pool.free() > 0) s.pool.allocate();
  s.store->reclaim(Time(), 1, true);
  EXPECT_EQ(s.pool.free(), 4);
  EXPECT_TRUE(s.host.copies.empty());
  EXPECT_EQ(s.store->live_records(), 0);
}

// Records leave before their share is full: the second one takes 8 of 10 pages, more than half, so the older goes.
TEST(ActivationStore, OldestRecordLeavesWhenHalfTheShareIsTaken) {
  Store s("pressure");
  s.record(1);
  s.record(2);
  ASSERT_EQ(s.host.copies.size(), 1u);
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  EXPECT_EQ(s.store->gpu_bytes(), Bytes(400));
  EXPECT_EQ(s.store->host_bytes(), Bytes(400));
  s.store->check_consistency();
}

// The GPU keeps its copy only where the prefix cache makes no use of the memory. With it goes one that could stay when
// it was copied.
TEST(ActivationStore, HedgedRecordLeavesTheGpuWherePrefixesAreMissed) {
  for (const bool missed : {false, true}) {
    Store s("eager", 20);
    s.record(1);
    EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
    EXPECT_EQ(s.store->gpu_bytes(), Bytes(400)) << "nobody has missed anything yet";
    ask_in_turn(s.pool, 20, missed ? 20 : 100);
    s.record(2);
    EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
    EXPECT_EQ(s.store->gpu_bytes(), Bytes(missed ? 0 : 800));
    EXPECT_EQ(s.store->host_bytes(), Bytes(800));
    s.store->check_consistency();
  }
}

// Of 64 blocks 4 stay free for serving and as many for records that are being made. Thirteen records of four stay,
// though their share is but one of them; the next is on the host alone as soon as it is there.
TEST(ActivationStore, RecordsStayWhereMemoryIsToSpare) {
  Store s("tiered", 4, 64);
  for (std::uint32_t request = 1; request <= 13; ++request) s.record(request);
  EXPECT_EQ(s.host.copies.size(), 0u);
  s.record(14);
  ASSERT_EQ(s.host.copies.size(), 1u);
  EXPECT_EQ(s.store->gpu_bytes(), Bytes(5'600));
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  EXPECT_EQ(s.store->gpu_bytes(), Bytes(5'200)) << "one copy of each";
  EXPECT_EQ(s.store->host_bytes(), Bytes(400));
  s.store->check_consistency();
}

// Records of 15 tokens take two pages each on the host, as on the GPU: five pages hold two of them, not three.
TEST(ActivationStore, CopiesTakeWholePagesOfTheHost) {
  Store s("eager", 10, 0, Bytes(550));
  std::uint32_t copied = 0;
  for (std::uint32_t request = 1; request <= 3; ++request) {
    s.record(request, 25);
    for (; copied < s.host.copies.size(); ++copied) s.store->on_copy_done(Time(), OpId(copied));
    s.store->check_consistency();
  }
  EXPECT_EQ(s.store->host_bytes(), Bytes(400));
  EXPECT_TRUE(s.store->take_host(Time(), Bytes(500))) << "both records give way";
  EXPECT_EQ(s.store->host_bytes(), Bytes(500));
  s.store->give_host(Bytes(500));
  EXPECT_EQ(s.store->host_bytes(), Bytes());
  EXPECT_FALSE(s.store->take_host(Time(), Bytes(501)));
}

// Records hold 28 blocks when the prefix cache turns out to need the other 36 of the 64, and 4 are to stay free: the
// next record takes the place of as many of the oldest as are too many now.
TEST(ActivationStore, RecordsGiveSpareMemoryBackToThePrefixCache) {
  Store s("tiered", 4, 64);
  for (std::uint32_t request = 1; request <= 7; ++request) s.record(request);
  ask_in_turn(s.pool, 36, 1);
  EXPECT_TRUE(s.host.copies.empty());
  ASSERT_NEAR(s.pool.spare(), 0, 1);
  s.record(8);
  EXPECT_LE(s.store->gpu_bytes(), Bytes(2'400));
  EXPECT_GE(s.store->gpu_bytes(), Bytes(2'000));
  s.store->check_consistency();
}

// While a record is made, serving takes all blocks but two of the 64, and four are to stay free: when it is complete,
// it and the oldest are copied out.
TEST(ActivationStore, RecordsMakePlaceForServingBeforeItHasToAsk) {
  Store s("tiered", 4, 64);
  for (std::uint32_t request = 1; request <= 7; ++request) s.record(request);
  const auto id = s.store->begin(Time(), Store::arrival(8), 0, 40, WeightVersion());
  ASSERT_TRUE(id.has_value());
  s.store->extend(Time(), *id, 40);
  while (s.pool.free() > 2) s.pool.allocate();
  EXPECT_TRUE(s.host.copies.empty());
  s.store->complete(Time(), *id);
  ASSERT_EQ(s.host.copies.size(), 2u);
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  EXPECT_EQ(s.pool.free(), 6);
  EXPECT_EQ(s.store->live_records(), 8);
  s.store->check_consistency();
}

// Those that live on the GPU alone are dropped then, the oldest first.
TEST(ActivationStore, RecordsThatStayAreNotCopiedToGiveSpareMemoryBack) {
  Store s("stay", 4, 64);
  for (std::uint32_t request = 1; request <= 7; ++request) s.record(request);
  const auto id = s.store->begin(Time(), Store::arrival(8), 0, 40, WeightVersion());
  ASSERT_TRUE(id.has_value());
  s.store->extend(Time(), *id, 40);
  while (s.pool.free() > 2) s.pool.allocate();
  s.store->complete(Time(), *id);
  EXPECT_TRUE(s.host.copies.empty());
  EXPECT_EQ(s.store->live_records(), 7);
  s.store->check_consistency();
}

// 10 pages of 100 bytes hold 100 tokens of 10 bytes or 250 lean ones of 4.
TEST(ActivationStore, LongPromptsAreKeptLeanOrInPart) {
  Store s("eager");
  const auto recorded = [&](std::uint32_t request, std::int32_t tokens) {
    Arrival arrival;
    arrival.id = RequestId(request);
    arrival.session = SessionId(request);
    arrival.prompt_tokens = tokens;
    const auto id = s.store->begin(Time(), arrival, 0, tokens, WeightVersion());
    EXPECT_TRUE(id.has_value());
    const std::int32_t kept = s.store->extend(Time(), *id, tokens);
    const bool lean = s.store->part(*id, kept).lean;
    s.store->check_consistency();
    s.store->abandon(Time(), *id);
    return std::pair(kept, lean);
  };
  EXPECT_EQ(recorded(1, 100), std::pair(100, false));
  EXPECT_EQ(recorded(2, 101), std::pair(101, true));
  EXPECT_EQ(recorded(3, 250), std::pair(250, true));
  EXPECT_EQ(recorded(4, 900), std::pair(250, true));
}

// A prompt of 900 tokens that prefill computes in three chunks: of the first, as much as there is room for; while that
// is on its way to the host, nothing of the second; and of the third again as much.
TEST(ActivationStore, ALongPromptHasSeveralRecords) {
  Store s("eager", 10, 0, Bytes(2'000));
  Arrival arrival = Store::arrival(1);
  arrival.prompt_tokens = 900;
  const RecordId first = s.store->begin(Time(), arrival, 0, 900, WeightVersion()).value();
  EXPECT_EQ(s.store->extend(Time(), first, 300), 250);
  s.store->complete(Time(), first);
  const RecordId second = s.store->begin_part(Time(), arrival, 300, true, WeightVersion());
  EXPECT_EQ(s.store->extend(Time(), second, 300), 0);
  s.store->abandon(Time(), second);
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  const RecordId third = s.store->begin_part(Time(), arrival, 600, true, WeightVersion());
  EXPECT_EQ(s.store->extend(Time(), third, 300), 250);
  s.store->complete(Time(), third);
  s.store->check_consistency();
  const Feedback sample{RequestId(1), SessionId(1), 900, 10, 0, 0};
  s.store->on_feedback(Time(), sample);
  const Coverage coverage = s.store->acquire(sample, WeightVersion(), 1);
  EXPECT_EQ(coverage.host_tokens, 250);
  EXPECT_EQ(coverage.resident_tokens, 250);
  EXPECT_EQ(coverage.parts.at(1).first_token, 600);
  s.store->put_back(coverage.records);
  s.store->end_of_use(Time(), RequestId(1));
  EXPECT_TRUE(s.store->on_copy_done(Time(), s.host.last()));
  EXPECT_EQ(s.store->gpu_bytes(), Bytes()) << "both are on the host alone";
  EXPECT_EQ(s.store->live_records(), 2);
}

// Of ten pages that are free, the prompt's next chunks need four: with the others a part of it is recorded.
TEST(ActivationStore, ARecordLeavesItsOwnPromptWhatThatNeedsNext) {
  Store s("eager");
  Arrival arrival = Store::arrival(1);
  arrival.prompt_tokens = 900;
  const RecordId id = s.store->begin(Time(), arrival, 0, 900, WeightVersion()).value();
  EXPECT_EQ(s.store->extend(Time(), id, 300, 4), 150) << "lean ones";
  EXPECT_EQ(s.pool.free(), 4);
  EXPECT_EQ(s.store->extend(Time(), id, 300, 4), 0) << "none";
  s.store->check_consistency();
}

// Three pages hold 75 lean tokens of a long prompt's next chunk; the 50 of two are too few for a record.
TEST(ActivationStore, AFewTokensAreNotWorthARecord) {
  Store s("eager");
  Arrival arrival = Store::arrival(1);
  arrival.prompt_tokens = 900;
  const RecordId id = s.store->begin(Time(), arrival, 0, 900, WeightVersion()).value();
  EXPECT_EQ(s.store->extend(Time(), id, 300, 8), 0);
  EXPECT_EQ(s.pool.free(), 10);
  EXPECT_EQ(s.store->extend(Time(), id, 300, 7), 75);
  s.store->check_consistency();
}

// A part of a prompt takes no memory of records that have no copy; a whole one does.
TEST(ActivationStore, APartOfAPromptCostsNoOtherRecord) {
  Store s("stay");
  s.record(1);
  Arrival arrival = Store::arrival(2);
  arrival.prompt_tokens = 900;
  const RecordId id = s.store->begin(Time(), arrival, 0, 900, WeightVersion()).value();
  EXPECT_EQ(s.store->extend(Time(), id, 900), 150) << "lean ones in the six pages that are free";
  EXPECT_EQ(s.store->live_records(), 2);
  s.store->abandon(Time(), id);
  const RecordId whole = s.store->begin(Time(), Store::arrival(3), 0, 100, WeightVersion()).value();
  EXPECT_EQ(s.store->extend(Time(), whole, 100), 100);
  EXPECT_EQ(s.store->live_records(), 1);
  s.store->check_consistency();
}

// Two turns of a session, the second of which does not go on from the first: what was recorded of one is nothing to a
// sample of the other.
TEST(ActivationStore, RecordsAreOfTheTokensThatTheyWereMadeOf) {
  const std::uint64_t chain[] = {7, 8, 9}, other_chain[] = {7, 8, 10};
  const auto shared = [&](PromptContent recorded, PromptContent asked) {
    Store s("stay");
    Arrival arrival = Store::arrival(1);
    arrival.content = recorded;
    const RecordId id = s.store->begin(Time(), arrival, 0, 40, WeightVersion()).value();
    s.store->extend(Time(), id, 40);
    s.store->complete(Time(), id);
    Feedback sample{RequestId(2), SessionId(1), 60, 10, 0, 0};
    sample.content = asked;
    return s.store->acquire(sample, WeightVersion(), 1).resident_tokens;
  };
  EXPECT_EQ(shared({5, {}, 0}, {5, {}, 0}), 40);
  EXPECT_EQ(shared({5, {}, 0}, {6, {}, 0}), 0);
  EXPECT_EQ(shared({5, chain, 20}, {6, other_chain, 20}), 40) << "the first 40 tokens are those of 7 and 8";
  EXPECT_EQ(shared({5, chain, 14}, {5, other_chain, 14}), 0) << "the 40th is in the third";
  EXPECT_EQ(shared({5, chain, 20}, {5, {}, 0}), 0) << "nobody knows";
}

// Feedback has come on the first and the second record, and a training step took the second's sample. Memory for one
// record is short: the first goes, passed over, before the third, on which there is no feedback yet; then the third.
TEST(ActivationStore, RecordsThatTrainingPassesOverGiveWay) {
  Store s("stay", 12);
  for (const std::uint32_t request : {1, 2, 3}) s.record(request);
  const auto sample = [](std::uint32_t request) {
    return Feedback{RequestId(request), SessionId(request), 40, 30, 0, 0};
  };
  const auto is_there = [&](std::uint32_t request) { return s.store->saved_share(sample(request), {}, 1) > 0; };
  s.store->on_feedback(Time::from_ns(10), sample(1));
  s.store->on_feedback(Time::from_ns(20), sample(2));
  const Feedback taken = sample(2);
  s.store->on_taken(Time::from_ns(30), {&taken, 1});
  s.store->reclaim(Time::from_ns(40), 4, true);
  EXPECT_FALSE(is_there(1));
  EXPECT_TRUE(is_there(3));
  s.store->reclaim(Time::from_ns(50), 4, true);
  EXPECT_FALSE(is_there(3));
  EXPECT_TRUE(is_there(2));
}

// Memory holds two records. To make a third that is needed later than both would cost more than it is worth; one that
// is needed before them takes the place of the later one.
TEST(ActivationStore, WhoForeseesDropsNothingForWhatIsNeededLater) {
  Store s("stay", 8);
  s.policy.evict = make_evict_decision("farthest");
  const auto made = [&](std::uint32_t request, double needed_in_s) {
    Arrival arrival = Store::arrival(request);
    arrival.foresees_feedback = true;
    arrival.feedback_delay = Duration::seconds(needed_in_s);
    const RecordId id = s.store->begin(Time(), arrival, 0, 40, WeightVersion()).value();
    const std::int32_t tokens = s.store->extend(Time(), id, 40);
    tokens > 0 ? s.store->complete(Time(), id) : s.store->abandon(Time(), id);
    s.store->check_consistency();
    return tokens;
  };
  const auto is_there = [&](std::uint32_t request) {
    return s.store->saved_share({RequestId(request), SessionId(request), 40, 30, 0, 0}, {}, 1) > 0;
  };
  EXPECT_EQ(made(1, 20), 40);
  EXPECT_EQ(made(2, 10), 40);
  EXPECT_EQ(made(3, 30), 0);
  EXPECT_TRUE(is_there(1) && is_there(2));
  EXPECT_EQ(made(4, 5), 40);
  EXPECT_FALSE(is_there(1));
  EXPECT_TRUE(is_there(2) && is_there(4));
}

// Host memory that training takes counts against the pool, and records give way to it.
TEST(ActivationStore, TrainingTakesHostMemory) {
  Store s("eager");
  s.record(1);
  s.record(2);
  EXPECT_TRUE(s.store->on_copy_done(Time(), OpId(0)));
  EXPECT_TRUE(s.store->on_copy_done(Time(), OpId(1)));
  EXPECT_EQ(s.store->host_bytes(), Bytes(800));
  EXPECT_FALSE(s.store->take_host(Time(), Bytes(1'100))) << "more than there is";
  while (s.pool.free() > 0) s.pool.allocate();
  s.store->reclaim(Time(), 8, false);  // both live on the host alone now
  EXPECT_TRUE(s.store->take_host(Time(), Bytes(600)));
  EXPECT_EQ(s.store->host_bytes(), Bytes(1'000)) << "one record of 400 and 600 of training";
  EXPECT_EQ(s.store->live_records(), 1);
  s.store->give_host(Bytes(600));
  EXPECT_EQ(s.store->host_bytes(), Bytes(400));
  s.store->check_consistency();
}

// A prompt of 40 tokens and a run of 24 of its answer, 20 of which are computed before the answer ends: of a sample of
// 40 + 30 tokens, 60 have a record.
TEST(ActivationStore, AnAnswerHasARecordOfItsOwn) {
  Store s("stay");
  const Feedback sample{RequestId(1), SessionId(1), 40, 30, 0, 0};
  const auto found = [&] {
    const Coverage coverage = s.store->acquire(sample, WeightVersion(), 1);
    s.store->put_back(coverage.records);
    return coverage;
  };
  s.record(1);
  const RecordId answer = s.begin_answer(1, 24, false);
  EXPECT_EQ(s.store->gpu_bytes(), Bytes(400 + 300));
  EXPECT_EQ(s.store->part(answer, 24).pages.size(), 3u);
  EXPECT_EQ(found().resident_tokens, 40) << "it is still being decoded";
  s.store->reclaim(Time(), 1, true);
  EXPECT_EQ(found().resident_tokens, 0) << "the complete record gives way, not the one that is being made";
  s.store->complete_answer(Time(), answer, 20);
  const Coverage coverage = found();
  EXPECT_EQ(coverage.resident_tokens, 20);
  ASSERT_EQ(coverage.parts.size(), 1u);
  EXPECT_EQ(coverage.parts[0].first_token, 40);
  EXPECT_EQ(coverage.parts[0].tokens, 20);
  EXPECT_EQ(coverage.parts[0].record_token, 0);
  s.store->check_consistency();
}

// All tokens but the last have a record: the last one takes the activations of the one before.
TEST(ActivationStore, TheLastTokenOfAnAnswerNeedsNoRecord) {
  Store s("stay");
  s.record(1);
  const RecordId answer = s.begin_answer(1, 24, true);
  s.store->complete_answer(Time(), answer, 20);
  const Coverage coverage = s.store->acquire({RequestId(1), SessionId(1), 40, 21, 0, 0}, WeightVersion(), 1);
  EXPECT_EQ(coverage.resident_tokens, 61);
  EXPECT_EQ(coverage.resident_lean, 21);
  ASSERT_EQ(coverage.parts.size(), 3u);
  EXPECT_EQ(coverage.parts[2].first_token, 60);
  EXPECT_EQ(coverage.parts[2].tokens, 1);
  EXPECT_EQ(coverage.parts[2].record, answer);
  EXPECT_EQ(coverage.parts[2].record_token, 19);
}

// Both records of a request are the first to go when its sample has been trained, and feedback holds for both.
TEST(ActivationStore, PromptAndAnswerAreTrainedTogether) {
  Store s("stay", 20);
  for (const std::uint32_t request : {1, 2}) {
    s.record(request);
    const RecordId answer = s.begin_answer(request, 24, true);
    s.store->complete_answer(Time(), answer, 24);
  }
  s.store->on_feedback(Time(), {RequestId(1), SessionId(1), 40, 30, 0, 0});
  EXPECT_EQ(s.store->acquire({RequestId(2), SessionId(2), 40, 30, 0, 0}, WeightVersion(), 1).resident_lean, 24);
  s.store->end_of_use(Time(), RequestId(1));
  EXPECT_EQ(s.store->live_records(), 4);
  s.store->reclaim(Time(), 4 + 1, true);
  EXPECT_EQ(s.store->live_records(), 2);
  EXPECT_EQ(s.store->acquire({RequestId(2), SessionId(2), 40, 30, 0, 0}, WeightVersion(), 1).resident_lean, 24);
  EXPECT_EQ(s.store->totals().dropped_records, 0) << "nobody waited for them any more";
  EXPECT_EQ(s.store->totals().records, 4);
  EXPECT_EQ(s.store->totals().recorded, 2 * Bytes(400 + 24 * 4));
  s.store->check_consistency();
}

// The only record is in use, so that nothing can give way; and one that was never written to is nobody's.
TEST(ActivationStore, AnAnswerMayGoWithoutARecord) {
  Store s("stay");
  s.record(1);
  const RecordId unused = s.begin_answer(1, 60, false);
  s.store->complete_answer(Time(), unused, 0);
  EXPECT_EQ(s.store->gpu_bytes(), Bytes(400));
  s.store->acquire({RequestId(1), SessionId(1), 40, 30, 0, 0}, WeightVersion(), 1);
  EXPECT_FALSE(s.store->begin_answer(Time(), Store::arrival(1), 40, 70, false, WeightVersion()).has_value());
  EXPECT_EQ(s.store->live_records(), 1);
  s.store->check_consistency();
}

}  // namespace
}  // namespace alchemist

#include <map>
#include <set>

#include "tests/workloads/support.h"
#include "workloads/conversations.h"
#include "workloads/trace_source.h"

namespace alchemist {
namespace {

WorkloadSpec with_sessions(ArrivalSpec arrivals, std::int64_t requests, double turns, Duration think) {
  WorkloadSpec spec = generated(std::move(arrivals), fixed_lengths(10, 5), requests);
  SessionSpec sessions;
  sessions.turns = {TurnsSpec::Kind::fixed, turns};
  sessions.think_time = {DurationDistribution::Kind::fixed, think};
  sessions.answer_delay = Duration();
  sessions.answer_time_per_token = Duration::milliseconds(100);
  std::get<GeneratedWorkload>(spec.source).sessions = sessions;
  return spec;
}

TEST(OpenLoopSessions, ReadyConversationsGoFirst) {
  // One request a second; an answer takes 5 * 0.1 s and thinking 1 s, so a conversation is ready 1.5 s after its turn.
  const auto requests = requests_of(with_sessions(FixedArrivals{1}, 6, 2, Duration::seconds(1)));
  const std::vector<std::pair<std::uint64_t, int>> expected{{0, 0}, {1, 0}, {0, 1}, {1, 1}, {2, 0}, {3, 0}};
  ASSERT_EQ(requests.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(requests[i].session.value(), expected[i].first) << i;
    EXPECT_EQ(requests[i].turn, expected[i].second) << i;
    EXPECT_EQ(requests[i].prompt_tokens, requests[i].turn == 0 ? 10 : 25) << i;  // 10 + 5 + 10
  }
  EXPECT_EQ(requests[0].content.content_id, requests[2].content.content_id);
  EXPECT_NE(requests[0].content.content_id, requests[1].content.content_id);
  // Half a second of thought less, and the next turn is ready at the very moment of the next request.
  EXPECT_EQ(requests_of(with_sessions(FixedArrivals{1}, 2, 2, Duration::milliseconds(500)))[1].turn, 1);
}

TEST(OpenLoopSessions, RateIsOfRequestsWhateverTheTurns) {
  const WorkloadSpec spec = with_sessions(PoissonArrivals{5}, 5'000, 4, Duration::seconds(20));
  const auto multi = requests_of(spec);
  const auto single = requests_of(generated(PoissonArrivals{5}, fixed_lengths(10, 5), 5'000));
  ASSERT_EQ(multi.size(), single.size());
  for (std::size_t i = 0; i < multi.size(); ++i) ASSERT_EQ(multi[i].arrival, single[i].arrival);
}

TEST(OpenLoopSessions, WarmUpGivesTheSteadyMixFromTheStart) {
  WorkloadSpec spec = with_sessions(FixedArrivals{10}, 200, 4, Duration::seconds(20));
  const auto share_of_first_turns = [&] {
    int first = 0;
    for (const auto& r : requests_of(spec)) first += r.turn == 0;
    return first / 200.0;
  };
  EXPECT_DOUBLE_EQ(share_of_first_turns(), 1.0);  // nobody is ready for a second turn within 20 s
  SessionSpec& sessions = *std::get<GeneratedWorkload>(spec.source).sessions;
  sessions.turns.kind = TurnsSpec::Kind::geometric;  // four on average; equal times would go in waves
  sessions.think_time.kind = DurationDistribution::Kind::exponential;
  sessions.warm_up = Duration::seconds(600);
  EXPECT_NEAR(share_of_first_turns(), 0.25, 0.1);
  EXPECT_EQ(requests_of(spec).front().arrival, Time());
}

TEST(OpenLoopSessions, AConversationEndsBeforeItExceedsTheLimit) {
  WorkloadSpec spec = with_sessions(FixedArrivals{1}, 300, 100, Duration());
  std::get<GeneratedWorkload>(spec.source).max_total_tokens = 50;  // 15, 30, 45: three turns
  std::map<std::uint64_t, int> turns;
  for (const auto& r : requests_of(spec)) {
    EXPECT_LE(r.prompt_tokens + r.output_tokens, 50);
    ++turns[r.session.value()];
  }
  EXPECT_EQ(turns.size(), 100U);
}

TEST(ClosedLoop, TheNextTurnFollowsTheAnswer) {
  const auto source = make_source(with_sessions(ClosedLoopArrivals{2}, 5, 2, Duration::seconds(3)), 1);
  const auto at = [](double s) { return Time() + Duration::seconds(s); };
  ASSERT_EQ(source->peek(), at(3));  // both users think first
  const WorkloadRequest a = source->next();
  const WorkloadRequest b = source->next();
  EXPECT_EQ(b.arrival, at(3));
  EXPECT_NE(a.session, b.session);
  EXPECT_FALSE(source->peek().has_value());
  EXPECT_FALSE(source->exhausted());
  source->on_finished(b.session, 0, at(10));
  EXPECT_EQ(source->peek(), at(13));
  source->on_finished(a.session, 0, at(4));  // an earlier answer brings the next request forward
  EXPECT_EQ(source->peek(), at(7));
  const WorkloadRequest c = source->next();
  EXPECT_EQ(c.session, a.session);
  EXPECT_EQ(c.turn, 1);
  EXPECT_EQ(c.prompt_tokens, 25);
  source->on_finished(c.session, 1, at(20));
  source->next();
  const WorkloadRequest e = source->next();  // the first user's second conversation
  EXPECT_EQ(e.turn, 0);
  EXPECT_EQ(e.arrival, at(23));
  EXPECT_TRUE(source->exhausted());  // five requests
}

TEST(ClosedLoop, LengthsDoNotDependOnWhoFinishesFirst) {
  WorkloadSpec spec =
      generated(ClosedLoopArrivals{2}, IndependentLengths{LognormalTokens{500, 1}, LognormalTokens{50, 1}}, 400);
  SessionSpec sessions;
  sessions.turns = {TurnsSpec::Kind::geometric, 3};
  std::get<GeneratedWorkload>(spec.source).sessions = sessions;
  const auto lengths_by_session = [&](Duration answer) {
    const auto source = make_source(spec, 1);
    std::map<std::pair<std::uint64_t, int>, int> lengths;
    while (!source->exhausted()) {
      const WorkloadRequest r = source->next();
      lengths[{r.session.value(), r.turn}] = r.prompt_tokens;
      source->on_finished(r.session, r.turn,
                          r.arrival + answer * (1 + static_cast<std::int64_t>(r.session.value() % 2)));
    }
    return lengths;
  };
  const auto fast = lengths_by_session(Duration::seconds(1)), slow = lengths_by_session(Duration::seconds(500));
  int common = 0;
  for (const auto& [turn, tokens] : fast) {
    if (const auto other = slow.find(turn); other != slow.end()) {
      EXPECT_EQ(other->second, tokens);
      ++common;
    }
  }
  EXPECT_GT(common, 200);
}

// Conversations of 1, 2, 3, ... turns, four on average: the mean of 20,000 has a deviation of 0.025.
TEST(Turns, GeometricHasItsMean) {
  GeneratedWorkload workload;
  workload.lengths = fixed_lengths(10, 10);
  workload.sessions.emplace();
  workload.sessions->turns = {TurnsSpec::Kind::geometric, 4};
  const auto conversations = make_conversations(workload, 1);
  std::vector<Turn> turns;
  double sum = 0;
  for (int i = 0; i < 20'000; ++i) {
    conversations->draw(turns);
    sum += static_cast<double>(turns.size());
  }
  EXPECT_NEAR(sum / 20'000, 4, 0.12);
}

// The answer comes at 4 s, and the user thinks for 1 s: up to the end at 5 s, at which nobody asks any more.
TEST(ClosedLoop, NothingArrivesAtTheEnd) {
  WorkloadSpec spec = with_sessions(ClosedLoopArrivals{1}, 0, 2, Duration::seconds(1));
  spec.requests.reset();
  spec.duration = Duration::seconds(5);
  const auto source = make_source(spec, 1);
  ASSERT_EQ(source->peek(), Time() + Duration::seconds(1));
  const WorkloadRequest request = source->next();
  source->on_finished(request.session, request.turn, Time() + Duration::seconds(4));
  EXPECT_FALSE(source->peek());
  EXPECT_TRUE(source->exhausted());
}

// Written to a file, a closed loop takes its answers to be as long as it is told: 5 tokens of 0.1 s and 1 s of thought.
TEST(ClosedLoop, AFileTakesAnswersToBeAsLongAsTold) {
  WorkloadSpec spec = with_sessions(ClosedLoopArrivals{1}, 3, 3, Duration::seconds(1));
  std::vector<Time> arrivals;
  for (const WorkloadRequest& r : requests_of(spec)) arrivals.push_back(r.arrival);
  EXPECT_EQ(arrivals, (std::vector<Time>{Time() + Duration::seconds(1), Time() + Duration::seconds(2.5),
                                         Time() + Duration::seconds(4)}));
  std::get<GeneratedWorkload>(spec.source).sessions->answer_delay = Duration::seconds(2);
  EXPECT_EQ(requests_of(spec)[1].arrival, Time() + Duration::seconds(4.5));
}

// Rows at 0 and 1 s, of a trace that is replayed for 1 s: as of other workloads, what would come at the end does not.
TEST(TraceSource, NothingArrivesAtTheEnd) {
  Trace trace;
  trace.has_arrivals = true;
  for (const std::int64_t at : {0, 1}) {
    TraceRow row;
    row.session = static_cast<std::uint64_t>(at);
    row.arrival = Duration::seconds(static_cast<double>(at));
    row.prompt_tokens = row.output_tokens = 1;
    trace.rows.push_back(row);
  }
  TraceSource source(trace, std::nullopt, Duration::seconds(1));
  ASSERT_EQ(source.peek(), Time());
  source.next();
  EXPECT_FALSE(source.peek());
  EXPECT_TRUE(source.exhausted());
}

// A session of three turns, each 1 s after the answer before.
TEST(TraceSource, EveryTurnFollowsTheOneBefore) {
  Trace trace;
  trace.has_arrivals = true;
  for (std::int32_t turn = 0; turn < 3; ++turn) {
    TraceRow row;
    row.session = 1;
    row.turn = turn;
    row.prompt_tokens = 10 + turn;
    row.output_tokens = 1;
    if (turn > 0) row.after_previous = Duration::seconds(1);
    trace.rows.push_back(row);
  }
  TraceSource source(trace, std::nullopt, std::nullopt);
  std::vector<Time> arrivals;
  while (const auto at = source.peek()) {
    arrivals.push_back(*at);
    const WorkloadRequest request = source.next();
    source.on_finished(request.session, request.turn, *at + Duration::seconds(1));
  }
  EXPECT_EQ(arrivals, (std::vector<Time>{Time(), Time() + Duration::seconds(2), Time() + Duration::seconds(4)}));
  EXPECT_TRUE(source.exhausted());
}

}  // namespace
}  // namespace alchemist

// Serving in the real world: when requests come, what is told of them, what ends a run and what breaks it off.
#include "validate/real_run.h"

#include <gtest/gtest.h>

#include <set>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "tests/validate/real_run_books.h"

namespace alchemist::testing {
namespace {

using Turn = ConversationWorkload::Turn;

Bytes page() { return small_model().kv_bytes_per_token() * 16; }

// With and without asynchronous scheduling.
class RealRunServing : public ::testing::TestWithParam<bool> {
 protected:
  RealRunServing() { world.async = GetParam(); }
  RealWorld world;
};
INSTANTIATE_TEST_SUITE_P(Scheduling, RealRunServing, ::testing::Bool());

// Prompts in one chunk and in several, answers of one token and of several runs of steps, two turns of a text, of which
// the second finds 20 + 30 tokens but for the last, in blocks of 16.
TEST_P(RealRunServing, TimesAreThoseOfTheKernels) {
  std::vector<Turn> turns = at_their_times({make_request(at_ms(0), 20, 30, 1), make_request(at_ms(0), 150, 1, 2),
                                            make_request(at_ms(3), 7, 5, 3), make_request(at_ms(4), 64, 17, 4)});
  turns.push_back({make_request(Time(), 60, 9, 1, 1), Duration::milliseconds(2)});
  world.run(turns);
  EXPECT_EQ(world.message(), "");
  EXPECT_EQ(world.totals.arrived, 5);
  EXPECT_EQ(world.totals.completed, 5);
  EXPECT_EQ(world.totals.rejected, 0);
  ASSERT_EQ(world.books.outcomes.size(), 5u);
  expect_times_of_requests(world);
  expect_all_calls_are_told(world);
  EXPECT_EQ(world.books.outcomes.at(RequestId(4)).prefix_hit_tokens, 48);
}

// Four times as much as there is memory for. Answers go on where they were, behind the right keys.
TEST_P(RealRunServing, RequestsGiveWayAndComeBack) {
  world.kv_blocks = 12;
  std::vector<WorkloadRequest> requests;
  for (std::uint64_t content = 1; content <= 8; ++content) requests.push_back(make_request(at_ms(0), 40, 60, content));
  world.run(requests);
  EXPECT_EQ(world.totals.completed, 8);
  EXPECT_GT(world.books.preemptions, 0);
  expect_times_of_requests(world);
  expect_all_calls_are_told(world);
  EXPECT_EQ(world.totals.peak_kv, page() * 12);
}

// The next turn comes its think time behind the answer, or behind the refusal of a turn that is too long, and its time
// to the first token counts from then, whenever the run found out.
TEST_P(RealRunServing, TheNextTurnFollowsTheAnswer) {
  world.change = [](SimulationConfig& config) { config.serving.max_model_len = 100; };
  world.run({{make_request(at_ms(2), 20, 6, 1)},
             {make_request(Time(), 60, 41, 1, 1), Duration::milliseconds(3)},
             {make_request(Time(), 60, 40, 1, 2), Duration::milliseconds(4)},
             {make_request(at_ms(2), 30, 40, 2)},
             {make_request(Time(), 30, 1, 2, 1), Duration::milliseconds(0)}});
  EXPECT_EQ(world.totals.arrived, 5);
  EXPECT_EQ(world.totals.rejected, 1);
  EXPECT_EQ(world.totals.completed, 4);
  const auto& answers = world.workload->answers;
  const auto& out = world.workload->out;
  ASSERT_EQ(answers.size(), 5u);
  ASSERT_EQ(out.size(), 5u);
  for (const ConversationWorkload::Answer& answer : answers) {
    SCOPED_TRACE("turn " + std::to_string(answer.turn) + " of " + std::to_string(answer.session.value()));
    const auto sent = std::ranges::find_if(
        out, [&](const auto& request) { return request.session == answer.session && request.turn == answer.turn; });
    const RequestId id(static_cast<std::uint32_t>(sent - out.begin()));
    if (answer.session == SessionId(1) && answer.turn == 1) {
      EXPECT_GE(answer.at, sent->arrival);
      EXPECT_LE(answer.at, Time() + (world.ended - world.begun));
      EXPECT_FALSE(world.books.outcomes.contains(id));
      EXPECT_FALSE(world.books.arrived.contains(id));
    } else {
      EXPECT_EQ(answer.at, world.books.outcomes.at(id).finished);
    }
  }
  expect_times_of_requests(world);
  expect_all_calls_are_told(world);
}

// A short answer ends in the first step, which has both prompts; its next turn comes while the step behind that is
// under way, however long that takes. The run, which would go on for 15 steps, ends behind that step, or behind the one
// that was planned already. The engine, which looks for new requests between steps, takes it in then.
TEST_P(RealRunServing, AnArrivalEndsARunOfSteps) {
  Signal came;
  world.books.when_arrived = [&](RequestId id) {
    if (id == RequestId(2)) came.set();
  };
  world.model.before_call = [&](std::size_t call) {
    if (call == 1) came.wait();
  };
  world.run({{make_request(at_ms(0), 5, 1, 1)},
             {make_request(at_ms(0), 17, 30, 2)},
             {make_request(Time(), 9, 2, 1, 1), Duration::milliseconds(1)}});
  EXPECT_FALSE(came.in_vain());
  const std::size_t planned = GetParam() ? 2 : 1;
  EXPECT_EQ(kernel_books(world).at(RequestId(2)).first_call, planned + 1);
  for (std::size_t span = 1; span <= planned; ++span) EXPECT_EQ(world.books.spans.at(span).steps, 1);
  EXPECT_EQ(world.books.spans.at(planned).running, 1);
  const RequestOutcome& outcome = world.books.outcomes.at(RequestId(2));
  EXPECT_LE(world.books.arrived.at(RequestId(2)), end_of(world, 1).to);
  EXPECT_GE(outcome.queued, end_of(world, 1).from);
  EXPECT_TRUE(std::ranges::any_of(world.books.memory, [&](const auto& told) { return told.first == outcome.queued; }))
      << "between two steps";
  expect_times_of_requests(world);
  expect_all_calls_are_told(world);
}

// Nothing fits: neither the memory, which has 400 blocks, nor the model, that takes 200 tokens.
TEST(RealRun, RefusesWhatCanNeverBeServed) {
  RealWorld world;
  world.kv_blocks = 10;
  world.run({make_request(at_ms(0), 150, 11, 1)});
  EXPECT_EQ(world.totals.rejected, 1);
  EXPECT_EQ(world.totals.completed, 0);
  EXPECT_EQ(world.totals.end, Time());
  EXPECT_TRUE(world.model.calls().empty());
  EXPECT_TRUE(world.lines.empty());
  EXPECT_EQ(world.workload->answers.size(), 1u);

  RealWorld other;
  other.kv_blocks = 10;
  other.change = [](SimulationConfig& config) { config.serving.max_model_len = 200; };
  other.run({make_request(at_ms(0), 150, 10, 1), make_request(at_ms(0), 199, 2, 2)});
  EXPECT_EQ(other.totals.completed, 1);
  EXPECT_EQ(other.totals.rejected, 1);
}

// 20 tokens take two blocks; with 29 more, the last one is never an input, they are four. The weights are told as the
// configuration has them. Nothing is in use before the first step and behind the last one.
TEST(RealRun, TellsTheMemoryInUse) {
  RealWorld world;
  world.run({make_request(at_ms(0), 20, 30, 1)});
  const auto& memory = world.books.memory;
  EXPECT_EQ(memory.front().first, Time());
  std::set<Bytes> seen;
  for (const auto& [at, use] : memory) {
    seen.insert(use.kv);
    EXPECT_EQ(use.weights, Bytes(7));
    EXPECT_EQ(use.activations + use.training + use.host, Bytes());
  }
  EXPECT_EQ(memory.front().second.kv, Bytes());
  EXPECT_EQ(memory.back().second.kv, Bytes());
  EXPECT_EQ(seen, (std::set<Bytes>{Bytes(), page() * 2, page() * 3, page() * 4}));
  EXPECT_EQ(world.totals.peak_kv, page() * 4);
  EXPECT_EQ(memory.back().first, world.books.memory.back().first);
  EXPECT_GE(memory.back().first, world.books.outcomes.at(RequestId(0)).finished);
}

// Of a request of a single step too: what that takes is told when it begins.
TEST(RealRun, TellsTheMemoryOfOneStep) {
  RealWorld world;
  world.run({make_request(at_ms(0), 20, 1, 1)});
  std::vector<Bytes> told;
  for (const auto& [at, use] : world.books.memory) {
    if (told.empty() || told.back() != use.kv) told.push_back(use.kv);
  }
  EXPECT_EQ(told, (std::vector<Bytes>{Bytes(), page() * 2, Bytes()}));
}

// The model says at its tenth call what a device says that is lost: the request that was finished by then counts, the
// one that was under way is no outcome, and the log has what led there.
TEST(RealRun, WhatWasDoneBeforeTheDeviceFailedCounts) {
  RealWorld world;
  world.model.before_call = [&](std::size_t call) {
    if (call == 9) throw ConfigError("the device is lost");
  };
  world.run({make_request(at_ms(0), 17, 4, 1), make_request(at_ms(0), 17, 40, 2)});
  EXPECT_EQ(world.message(), "the device is lost");
  EXPECT_EQ(world.totals.arrived, 2);
  EXPECT_EQ(world.totals.completed, 1);
  ASSERT_EQ(world.books.outcomes.size(), 1u);
  EXPECT_EQ(world.books.outcomes.begin()->first, RequestId(0));
  EXPECT_EQ(world.model.calls().size(), 9u);
  EXPECT_EQ(world.workload->answers.size(), 1u);
  Duration busy;
  for (const ServingSpan& span : world.books.spans) busy += span.end - span.start;
  EXPECT_EQ(world.totals.busy, busy);
  EXPECT_EQ(world.totals.end, world.books.spans.back().end);
  EXPECT_EQ(world.replay().events + world.replay().commands, std::ssize(world.lines));
}

TEST(RealRun, AnErrorOfOursIsNoResult) {
  RealWorld world;
  world.model.before_call = [](std::size_t call) { check(call < 3, "all is well"); };
  EXPECT_THROW(world.run({make_request(at_ms(0), 17, 30, 1)}), InternalError);
}

// One replica of one device, which must know the blocks of a run of steps before it begins.
TEST(RealRun, NeedsANodeThatItCanRun) {
  const auto expect_refused = [](const std::function<void(SimulationConfig&)>& change) {
    RealWorld world;
    world.change = change;
    EXPECT_THROW(world.run({make_request(at_ms(0), 17, 3, 1)}), InternalError);
  };
  expect_refused([](SimulationConfig& config) { config.replicas = 2; });
  expect_refused([](SimulationConfig& config) { config.serving.blocks_known_ahead = false; });
  RealWorld world;
  world.trains = true;
  world.policy.separate = true;
  EXPECT_THROW(world.run({make_request(at_ms(0), 17, 3, 1)}), InternalError);
}

TEST(RealRun, AnEmptyWorkloadIsOverAtOnce) {
  RealWorld world;
  world.run(std::vector<WorkloadRequest>());
  EXPECT_EQ(world.totals.arrived, 0);
  EXPECT_TRUE(world.model.calls().empty());
}

// A fresh node given the same events commands the same.
TEST_P(RealRunServing, IsReplayed) {
  world.run({make_request(at_ms(0), 100, 30, 1), make_request(at_ms(1), 20, 3, 2), make_request(at_ms(1), 50, 9, 1)});
  EXPECT_EQ(world.replay().events + world.replay().commands, std::ssize(world.lines));
  EXPECT_EQ(std::ranges::count_if(world.lines, [](const auto& line) { return line.find(" arrival ") != line.npos; }),
            3);
}

}  // namespace
}  // namespace alchemist::testing

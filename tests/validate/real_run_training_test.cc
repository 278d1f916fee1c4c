// Training in the real world: when feedback comes, what is trained of which activations, and what is told of it.
#include <gtest/gtest.h>

#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "sim/base/error.h"
#include "tests/validate/training_real_world.h"

namespace alchemist::testing {
namespace {

using Kind = ScriptedCall::Kind;

// With and without asynchronous scheduling.
class RealRunTraining : public ::testing::TestWithParam<bool> {
 protected:
  RealRunTraining() : world(kTemporal) { world.async = GetParam(); }
  TrainingRealWorld world;
};
INSTANTIATE_TEST_SUITE_P(Scheduling, RealRunTraining, ::testing::Bool());

// A short answer ends in the first step, and its feedback comes while the step behind that is under way, however long
// that takes. The run ends behind that step, or behind the one that was planned already, so that training may begin.
TEST_P(RealRunTraining, FeedbackEndsARunOfSteps) {
  Signal came;
  world.when_logged = [&](const std::string& line) {
    if (line.find(" feedback 0 ") != line.npos) came.set();
  };
  world.model.before_call = [&](std::size_t call) {
    if (call == 1) came.wait();
  };
  world.run({make_request(at_ms(0), 5, 1, 1), make_request(at_ms(0), 17, 30, 2)});
  EXPECT_FALSE(came.in_vain());
  for (std::size_t span = 1; span <= (GetParam() ? 2u : 1u); ++span) EXPECT_EQ(world.books.spans.at(span).steps, 1);
  const auto line = std::ranges::find_if(world.lines, [](const auto& l) { return l.find(" feedback ") != l.npos; });
  EXPECT_GE(std::stoll(line->substr(2)), (world.books.outcomes.at(RequestId(0)).finished + world.delay).count_ns());
}

// So does a record that has arrived on the host while the step is under way: somebody may wait for its memory.
TEST_P(RealRunTraining, ACopyThatIsDoneEndsARunOfSteps) {
  world.policy = {"minimal", "eager", "oldest", "reload", "idle"};
  world.delay = Duration::seconds(1'000);
  Signal began, came;
  world.model.link().before_copy = [&](CopyDirection) { began.wait(); };
  world.books.when_transferred = [&](const TransferSpan&) { came.set(); };
  world.model.before_call = [&](std::size_t call) {
    if (call != 1) return;
    began.set();
    came.wait();
  };
  world.run({make_request(at_ms(0), 5, 1, 1), make_request(at_ms(0), 17, 30, 2)});
  EXPECT_FALSE(began.in_vain() || came.in_vain());
  for (std::size_t span = 1; span <= (GetParam() ? 2u : 1u); ++span) EXPECT_EQ(world.books.spans.at(span).steps, 1);
}

// Half of the answers get feedback, those that are drawn for their turns, whatever the policy; nothing is trained, for
// a batch is never full. What will not be trained is told when the run is over, in order of arrival.
TEST(RealRun, FeedbackIsOnTheTurnsThatAreDrawn) {
  TrainingRealWorld world(kTemporal);
  world.share = 0.5;
  world.batch_tokens = 1'000'000;
  std::vector<WorkloadRequest> requests;
  for (std::int32_t i = 0; i < 20; ++i) requests.push_back(make_request(at_ms(0), 10 + i, 1 + i % 3, 7, i));
  const SimulationConfig config = world.real_config();
  const FeedbackBook draws(config.seed, config.training->feedback, world.books);
  std::set<RequestId> expected;
  std::int64_t prompts = 0, answers = 0;
  for (std::uint32_t i = 0; i < 20; ++i) {
    if (!draws.draw_for(SessionId(7), static_cast<std::int32_t>(i))) continue;
    expected.insert(RequestId(i));
    prompts += requests[i].prompt_tokens;
    answers += requests[i].output_tokens;
  }
  ASSERT_TRUE(expected.size() > 3 && expected.size() < 17);
  world.run(requests, [&] { return world.lines_with(" feedback ") < std::ssize(expected); });
  EXPECT_EQ(world.totals.feedback_samples, std::ssize(expected));
  EXPECT_EQ(world.totals.feedback_tokens, prompts + answers);
  EXPECT_EQ(world.totals.feedback_prompt_tokens, prompts);
  EXPECT_EQ(world.totals.feedback_answer_tokens, answers);
  EXPECT_EQ(world.totals.trainer.queued_samples, std::ssize(expected));
  EXPECT_EQ(world.totals.trainer.queued_tokens, prompts + answers);
  ASSERT_EQ(world.books.order.size(), 20u);
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), world.books.order.end() - std::ssize(expected)));
  for (const auto& [id, outcome] : world.books.outcomes) {
    EXPECT_FALSE(outcome.trained_at);
    EXPECT_FALSE(outcome.version_lag);
  }
  for (const RequestId id : expected) EXPECT_EQ(world.lines_with(" feedback " + std::to_string(id.value()) + " "), 1);
}

// The run does not wait for feedback.
TEST(RealRun, IsOverWithTheLastAnswer) {
  TrainingRealWorld world(kTemporal);
  world.delay = Duration::seconds(1'000);
  world.run({make_request(at_ms(0), 20, 3, 1)});
  EXPECT_EQ(world.totals.completed, 1);
  EXPECT_EQ(world.totals.feedback_samples, 0);
  EXPECT_EQ(world.books.outcomes.size(), 1u);
}

// Five answers that end in the same step and whose feedback takes equally long: in the order in which they ended, as in
// the simulation.
TEST(RealRun, FeedbackOfOneMomentComesInOrder) {
  TrainingRealWorld world(kTemporal);
  std::vector<WorkloadRequest> requests;
  for (std::uint64_t content = 1; content <= 5; ++content) requests.push_back(make_request(at_ms(0), 6, 4, content));
  world.run(requests, [&] { return world.lines_with(" feedback ") < 5; });
  std::vector<std::string> told;
  for (const std::string& line : world.lines) {
    const std::size_t at = line.find(" feedback ");
    if (at != line.npos) told.push_back(line.substr(at + 10, 1));
  }
  EXPECT_EQ(told, (std::vector<std::string>{"0", "1", "2", "3", "4"}));
}

// Three samples that were recorded at once, each of which is a training step: the weights are none, one and two
// versions younger when they are trained. Without a record there is no lag, which is not a lag of none.
TEST(RealRun, TellsHowOldRecordsAre) {
  for (const bool records : {true, false}) {
    TrainingRealWorld world(records ? kReuse : kTemporal);
    world.batch_tokens = 100;
    world.run({make_request(at_ms(0), 90, 10, 1), make_request(at_ms(0), 90, 10, 2), make_request(at_ms(0), 90, 10, 3)},
              world.until_trained(3));
    EXPECT_EQ(world.model.wrong_stamps(), 0) << "of prompts that were recorded in one step";
    ASSERT_EQ(world.books.steps.size(), 3u);
    ASSERT_EQ(world.books.order.size(), 3u);
    std::vector<std::string> logged;
    std::ranges::copy_if(world.lines, std::back_inserter(logged),
                         [](const std::string& line) { return line.starts_with("0 > trained "); });
    ASSERT_EQ(logged.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
      const RequestOutcome& outcome = world.books.outcomes.at(world.books.order[i]);
      EXPECT_EQ(outcome.trained_at, world.books.steps[i].end);
      EXPECT_EQ(outcome.version_lag, records ? std::optional(static_cast<std::int32_t>(i)) : std::nullopt);
      EXPECT_EQ(world.books.steps[i].version_lag_sum, records ? static_cast<std::int64_t>(i) : 0);
      EXPECT_EQ(world.books.steps[i].reusing_samples, records ? 1 : 0);
      const std::string lag = records ? std::to_string(i) : "-";
      EXPECT_TRUE(logged[i].ends_with(" 1 " + std::to_string(outcome.id.value()) + " " + lag)) << logged[i];
    }
  }
}

// Each sample is trained alone: the second and the third turn are recorded on top of the records of those before, whose
// prompts they repeat, while weights change. With and without a host for them.
TEST(RealRun, TrainsWhatIsRecordedUnderTheWeightsOfItsRecord) {
  for (const bool on_host : {true, false}) {
    for (const bool keeps : {true, false}) {
      TrainingRealWorld world(on_host ? Decisions{"minimal", "eager", "oldest", "reload", "idle"} : kReuse);
      world.batch_tokens = 100;
      world.change = [&](SimulationConfig& config) {
        TrainerConfig& trainer = config.training->trainer;
        trainer.training.max_version_lag = 9;
        trainer.kept_versions = keeps ? 9 : 0;
      };
      world.run({{make_request(at_ms(0), 90, 10, 1)},
                 {make_request(at_ms(0), 90, 60, 2)},
                 {make_request(at_ms(0), 130, 40, 1, 1), {}, [&] { return !world.books.steps.empty(); }},
                 {make_request(at_ms(0), 190, 10, 1, 2), {}, [&] { return world.books.steps.size() > 1; }}},
                world.until_trained(4));
      EXPECT_EQ(world.model.wrong_stamps(), 0);
      EXPECT_EQ(world.books.steps.size(), 4u);
      EXPECT_EQ(world.model.wrong_versions() == 0, keeps);
      EXPECT_EQ(world.model.old_rows() > 90, keeps);
      EXPECT_EQ(world.replay().events + world.replay().commands, std::ssize(world.lines));
    }
  }
}

// While a long answer is decoded and recorded, other samples are trained beside it: its tokens are of several versions,
// and when it is trained itself each has its own.
TEST(RealRun, TokensOfAnAnswerAreEachOfTheirOwnVersion) {
  TrainingRealWorld world({"minimal", "stay", "oldest", "none", "headroom", FreshActivations::kKeep, false, true});
  world.batch_tokens = 100;
  world.max_itl = Duration::seconds(1);
  world.change = [](SimulationConfig& config) {
    config.training->trainer.training.max_version_lag = config.training->trainer.kept_versions = 9;
  };
  world.run({make_request(at_ms(0), 90, 10, 1), make_request(at_ms(0), 90, 10, 2), make_request(at_ms(0), 90, 400, 3)},
            world.until_trained(3));
  ASSERT_EQ(world.books.steps.size(), 3u);
  EXPECT_LT(world.books.steps[1].end, world.books.outcomes.at(RequestId(2)).finished) << "beside the long answer";
  EXPECT_EQ(world.model.wrong_stamps(), 0);
  EXPECT_EQ(world.model.wrong_versions(), 0);
  EXPECT_GT(world.model.old_rows(), 90);
}

// The second turn comes when the first has been trained: it finds the 49 tokens that were computed of it, in blocks of
// 16, and these are older than its own step's weights; unless the cache was reset with these.
TEST(RealRun, TellsWhatOlderWeightsComputed) {
  for (const bool reset : {false, true}) {
    TrainingRealWorld world(kTemporal);
    world.batch_tokens = 50;
    world.reset_prefix_cache = reset;
    world.run({{make_request(at_ms(0), 40, 10, 1)},
               {make_request(at_ms(0), 60, 10, 1, 1), {}, [&] { return !world.books.steps.empty(); }}});
    const RequestOutcome& second = world.books.outcomes.at(RequestId(1));
    EXPECT_EQ(second.prefix_hit_tokens, reset ? 0 : 48);
    EXPECT_EQ(second.stale_prefix_tokens, reset ? 0 : 48);
    expect_times_of_requests(world);
    EXPECT_EQ(world.replay().events + world.replay().commands, std::ssize(world.lines));
  }
}

// A clairvoyant node is told with a request which feedback will come on it; others are not.
TEST(RealRun, TellsTheFutureToTheClairvoyantAlone) {
  for (const bool foresees : {true, false}) {
    TrainingRealWorld world(foresees ? Decisions{"foreseen", "stay", "farthest", "none", "idle"} : kReuse);
    world.share = 0.5;
    std::vector<WorkloadRequest> requests;
    for (std::int32_t i = 0; i < 12; ++i) requests.push_back(make_request(at_ms(0), 10, 2, 7, i));
    world.run(requests);
    const FeedbackBook draws(1, world.real_config().training->feedback, world.books);
    std::int64_t told = 0;
    for (const std::string& line : world.lines) {
      if (line.find(" arrival ") == line.npos) continue;
      const bool comes = draws.draw_for(SessionId(7), static_cast<std::int32_t>(told++)).has_value();
      EXPECT_TRUE(line.ends_with(!foresees ? " 0 -" : comes ? " 1 1000000" : " 1 -")) << line;
    }
    EXPECT_EQ(told, 12);
  }
}

// What serving and training hold, by hand: of 90 tokens, whose keys and values are on 6 pages and those of the answer's
// on one more, the first 64 and then all are recorded; of the answer's ten a micro-batch keeps what backward needs.
TEST(RealRun, TellsTheMemoryOfTraining) {
  TrainingRealWorld world({"minimal", "eager", "oldest", "reload", "idle"});
  world.batch_tokens = 100;
  world.change = [](SimulationConfig& config) { config.training->static_bytes = Bytes(5); };
  world.run({make_request(at_ms(0), 90, 10, 1)}, world.until_trained(1));
  const Bytes page = small_model().kv_bytes_per_token() * 16;
  const auto pages = [&](std::int64_t tokens) {
    const std::int64_t bytes = (world.cost.record_bytes().minimal * small_model().layers * tokens).count();
    return page * ((bytes + page.count() - 1) / page.count());
  };
  std::set<Bytes> kv, activations, training, host;
  for (const auto& [at, use] : world.books.memory) {
    kv.insert(use.kv);
    activations.insert(use.activations);
    training.insert(use.training);
    host.insert(use.host);
  }
  EXPECT_EQ(kv, (std::set<Bytes>{Bytes(), page * 4, page * 6, page * 7}));
  EXPECT_EQ(activations, (std::set<Bytes>{Bytes(), pages(64), pages(90)}));
  EXPECT_EQ(training, (std::set<Bytes>{Bytes(5), Bytes(5) + pages(10)}));
  EXPECT_EQ(host, (std::set<Bytes>{Bytes(), pages(90)}));
  EXPECT_EQ(world.totals.peak_kv, page * 7);
  EXPECT_EQ(world.totals.store.records, 1);
  EXPECT_EQ(world.totals.store.recorded, world.cost.record_bytes().minimal * small_model().layers * 90);
}

// An emulated link, over which every layer of the fresh activations goes and comes back: no copy is faster than it, and
// what waits for a copy is told.
TEST(RealRun, CopiesTakeAsLongAsTheLinkIsSlow) {
  TrainingRealWorld world({"none", "none", "none", "none", "idle", FreshActivations::kOffload});
  world.pace = LinkPace{1e8, Duration::milliseconds(2)};
  world.run(samples(), world.until_trained(3));
  EXPECT_EQ(world.model.wrong_stamps(), 0);
  expect_link_books(world);
  expect_step_books(world);
  Duration copies;
  for (const TransferSpan& span : world.books.transfers) {
    EXPECT_GE(span.end - span.start, world.pace->latency + Duration::seconds(span.bytes.as_double() / 1e8));
    copies += span.end - span.start;
  }
  EXPECT_GT(world.moved(LinkDirection::kHostToDevice), Bytes());
  EXPECT_EQ(world.moved(LinkDirection::kHostToDevice), world.moved(LinkDirection::kDeviceToHost));
  EXPECT_GT(world.sum(&TrainingStep::restore_stall), Duration());
  EXPECT_LE(world.sum(&TrainingStep::restore_stall), copies);
}

// In the middle of the second training step: the first one counts, and so does everything that was served.
TEST(RealRun, WhatWasTrainedBeforeTheDeviceFailedCounts) {
  for (const Kind kind : {Kind::kForward, Kind::kBackward, Kind::kOptimizer}) {
    TrainingRealWorld world(kReuse);
    world.batch_tokens = 100;
    world.model.before_piece = [&](Kind called) {
      if (called == kind && world.model.version().value() == 1) throw ConfigError("the device is lost");
    };
    world.run({make_request(at_ms(0), 90, 10, 1), make_request(at_ms(0), 90, 10, 2), make_request(at_ms(0), 90, 10, 3)},
              world.until_trained(3));
    EXPECT_EQ(world.message(), "the device is lost");
    EXPECT_EQ(world.totals.completed, 3);
    EXPECT_EQ(world.books.steps.size(), 1u);
    EXPECT_EQ(world.totals.trainer.samples, 1);
    ASSERT_EQ(world.books.outcomes.size(), 3u);
    EXPECT_EQ(
        std::ranges::count_if(world.books.outcomes, [](const auto& o) { return o.second.trained_at.has_value(); }), 1);
    EXPECT_EQ(world.totals.store.records, 3);
    EXPECT_EQ(world.replay().events + world.replay().commands, std::ssize(world.lines));
  }
}

TEST(RealRun, ALinkThatFailsEndsTheRun) {
  TrainingRealWorld world({"minimal", "eager", "oldest", "reload", "idle"});
  world.model.link().before_copy = [](CopyDirection) { throw ConfigError("the link is lost"); };
  world.run({make_request(at_ms(0), 90, 10, 1)}, world.until_trained(1));
  EXPECT_EQ(world.message(), "the link is lost");
  EXPECT_TRUE(world.books.transfers.empty());
}

}  // namespace
}  // namespace alchemist::testing

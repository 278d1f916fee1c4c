// The host prepares a step while something else runs; what that does not hide delays the step. By hand: a step costs
// 100 ns + 10 ns a token, or the host's time if that is longer.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "tests/engine/training_world.h"

namespace alchemist {
namespace {

using testing::kTemporal;
using testing::LinearCost;
using testing::ListWorkload;
using testing::make_request;
using testing::small_config;
using testing::TextObserver;
using testing::TrainingObserver;
using testing::World;

std::vector<RequestOutcome> outcomes_of(std::int64_t host_ns, std::vector<WorkloadRequest> requests) {
  ListWorkload workload(std::move(requests));
  const LinearCost cost(100, 10, 0, host_ns);
  TextObserver observer;
  SimulationConfig config = small_config(50);
  config.serving.async_scheduling = true;
  Simulation(config, cost, workload, observer).run();
  return observer.outcomes;
}

// Nothing hides the host's 50 on an idle engine: the prompt's step runs from 50 to 180. The decode steps of 110 hide
// it.
TEST(HostTime, AnIdleEngineWaitsForTheHost) {
  const auto outcomes = outcomes_of(50, {make_request(at_ns(0), 3, 4, 1)});
  EXPECT_EQ(outcomes.at(0).queued, at_ns(0));
  EXPECT_EQ(outcomes.at(0).scheduled, at_ns(0));
  EXPECT_EQ(outcomes.at(0).first_token, at_ns(50 + 130));
  EXPECT_EQ(outcomes.at(0).finished, at_ns(180 + 3 * 110));
}

// As Simulation.AsynchronousSchedulingAdmitsOneStepLater, 50 later: the request that comes while the host prepares the
// first step is planned at 180, behind the step that was planned at 50, and computed from 290 on.
TEST(HostTime, WhoComesDuringItIsPlannedWhenTheStepHasStarted) {
  const auto outcomes = outcomes_of(50, {make_request(at_ns(0), 3, 4, 1), make_request(at_ns(20), 5, 1, 2)});
  EXPECT_EQ(outcomes.at(0).id, RequestId(1));
  EXPECT_EQ(outcomes.at(0).queued, at_ns(50));
  EXPECT_EQ(outcomes.at(0).scheduled, at_ns(50));
  EXPECT_EQ(outcomes.at(0).first_token, at_ns(180 + 160));
}

// A host that takes longer than any step sets the pace.
TEST(HostTime, ASlowHostSetsThePace) {
  const auto outcomes = outcomes_of(300, {make_request(at_ns(0), 3, 4, 1)});
  EXPECT_EQ(outcomes.at(0).first_token, at_ns(300 + 300));
  EXPECT_EQ(outcomes.at(0).finished, at_ns(600 + 3 * 300));
}

World world_with_host_time(std::int64_t host_ns) {
  World world;
  world.async = true;
  world.serving_cost = LinearCost(100'000, 1'000, 0, host_ns);
  return world;
}

// A request of 3 + 1 tokens comes 1 us after a piece of training of some 90 us has begun. Its step of 103 us follows
// the piece if the host is ready by then; if the host takes 150 us, it starts so long after the arrival, and takes as
// long.
TEST(HostTime, APieceHidesAsMuchAsItLasts) {
  const auto run = [](std::int64_t host_ns, Time second, TrainingObserver& observer) {
    world_with_host_time(host_ns).run(
        kTemporal,
        {make_request(at_ms(0), 50, 11, 1), make_request(second, 3, 1, 2), make_request(at_ms(6'000), 3, 1, 3)},
        observer, 4'000, 1.0, Duration::milliseconds(1));
  };
  for (const std::int64_t host_ns : {0, 150'000}) {
    TrainingObserver alone, observer;
    run(host_ns, at_ms(5'000), alone);
    const Time arrival = alone.pieces.at(0).start + Duration::microseconds(1);
    run(host_ns, arrival, observer);
    const Time piece_end = observer.pieces.at(0).end;
    ASSERT_LT(piece_end, arrival + Duration::microseconds(150));
    const Time start = std::max(piece_end, arrival + Duration::nanoseconds(host_ns));
    EXPECT_EQ(observer.outcomes.at(RequestId(1)).first_token,
              start + Duration::nanoseconds(std::max(std::int64_t{103'000}, host_ns)))
        << host_ns;
    EXPECT_EQ(observer.pieces.at(1).start, observer.outcomes.at(RequestId(1)).first_token) << host_ns;
  }
}

// Several pieces share a gap between two tokens; the host prepares the step behind them while the last of them run.
// Decode steps of one request take 200 us here, by the GPU or by the host.
class GapsOfSeveralPieces : public ::testing::Test {
 protected:
  TrainingObserver run(LinearCost cost, std::optional<Time> prompt = {}) {
    World world;
    world.async = true;
    world.serving_cost = cost;
    world.step_tokens = 1'024;
    world.max_itl = kGap;
    TrainingObserver observer;
    std::vector<WorkloadRequest> requests;
    for (std::uint64_t i = 1; i <= 8; ++i) requests.push_back(make_request(at_ms(0), 60, 20, i));
    requests.push_back(make_request(at_ms(5), 50, 400, 9));
    if (prompt) requests.push_back(make_request(*prompt, 3, 1, 10));
    world.run({"none", "none", "none", "none", "headroom"}, requests, observer, 4'000, 1.0, Duration::milliseconds(1));
    return observer;
  }
  static Duration in_gaps(const TrainingObserver& observer) {
    Duration time;
    for (const TrainingSpan& piece : observer.pieces) {
      if (piece.end < observer.outcomes.at(RequestId(8)).finished) time += piece.end - piece.start;
    }
    return time;
  }

  static constexpr Duration kGap = Duration::microseconds(600);
  static constexpr Duration kStep = Duration::microseconds(200);
  LinearCost by_gpu_{199'000, 1'000, 0, 0};
  LinearCost by_host_{100'000, 1'000, 0, 200'000};
};

TEST_F(GapsOfSeveralPieces, AreUsedWhileTheHostPrepares) {
  const TrainingObserver free_host = run(by_gpu_), slow_host = run(by_host_);
  ASSERT_GT(in_gaps(free_host), Duration::milliseconds(5));
  EXPECT_GT(in_gaps(slow_host) / in_gaps(free_host), 0.97);
  const Duration longest = *slow_host.outcomes.at(RequestId(8)).longest_gap;
  EXPECT_LE(longest, kGap);
  EXPECT_GE(longest, Duration::microseconds(500));
}

// The last piece but one of a gap: the host begins to prepare the step with it, since the last one is too short. A
// prompt that comes during it ends the gap behind it, but is computed in the step after the one that is prepared.
TEST_F(GapsOfSeveralPieces, APromptWaitsForTheStepThatIsBeingPrepared) {
  const TrainingObserver alone = run(by_host_);
  const std::vector<TrainingSpan>& pieces = alone.pieces;
  std::size_t i = 0;
  const auto is_last_but_one = [&] {
    return pieces[i].start > at_ms(10) && pieces[i + 1].start == pieces[i].end &&
           pieces[i + 2].start > pieces[i + 1].end;
  };
  while (i + 2 < pieces.size() && !is_last_but_one()) ++i;
  ASSERT_LT(i + 2, pieces.size());
  ASSERT_LT(pieces[i].end - pieces[i].start, kStep);
  const TrainingObserver observer = run(by_host_, pieces[i].start + Duration::microseconds(1));
  EXPECT_EQ(observer.pieces.at(i).end, pieces[i].end);
  EXPECT_EQ(observer.outcomes.at(RequestId(9)).first_token, pieces[i].start + kStep + kStep + kStep);
}

}  // namespace
}  // namespace alchemist

// The host prepares a step while something else runs; what that does not hide delays the step. By hand: a step costs
// 100 ns + 10 ns a token, or the host's time if that is longer.
#include <gtest/gtest.h>

#include <algorithm>
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

// Several pieces share a gap between two tokens; the step behind them is planned when the last of them begins, so that
// the gap has room for what the host still needs then. 90 us are more than most pieces take here.
TEST(HostTime, GapsHaveRoomForTheHost) {
  World world = world_with_host_time(90'000);
  world.step_tokens = 1'024;
  world.max_itl = Duration::microseconds(600);
  TrainingObserver observer;
  std::vector<WorkloadRequest> requests;
  for (std::uint64_t i = 1; i <= 8; ++i) requests.push_back(make_request(at_ms(0), 60, 20, i));
  requests.push_back(make_request(at_ms(5), 50, 400, 9));
  world.run({"none", "none", "none", "none", "headroom"}, requests, observer, 4'000, 1.0, Duration::milliseconds(1));
  EXPECT_GT(observer.pieces.size(), 20u);
  EXPECT_LE(*observer.outcomes.at(RequestId(8)).longest_gap, *world.max_itl);
  EXPECT_GE(*observer.outcomes.at(RequestId(8)).longest_gap, Duration::microseconds(400));
}

}  // namespace
}  // namespace alchemist

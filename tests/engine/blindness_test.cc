// How long an answer will be is known to the world alone. Two workloads that differ in nothing but output lengths give
// the same commands, to the letter, until the first completion that differs tells the node about it.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/engine/node_world.h"

namespace alchemist {
namespace {

using testing::Command;
using testing::LinearCost;
using testing::ListWorkload;
using testing::make_request;
using testing::NodeWorld;
using testing::small_config;
using testing::TextObserver;

constexpr int kRequests = 120;

std::vector<WorkloadRequest> random_requests(std::uint64_t seed) {
  RandomStream random(seed, "test");
  std::vector<WorkloadRequest> requests;
  std::int64_t now = 0;
  for (int i = 0; i < kRequests; ++i) {
    now += static_cast<std::int64_t>(random.exponential(2'000));
    requests.push_back(make_request(Time::from_ns(now), static_cast<std::int32_t>(random.uniform_int(1, 100)),
                                    static_cast<std::int32_t>(random.uniform_int(1, 60)),
                                    static_cast<std::uint64_t>(random.uniform_int(0, 20))));
  }
  return requests;
}

// The same with longer answers for every second request of the later half.
std::vector<WorkloadRequest> lengthen(std::vector<WorkloadRequest> requests) {
  for (std::size_t i = requests.size() / 2; i < requests.size(); i += 2) requests[i].output_tokens += 40;
  return requests;
}

// When the first of the lengthened requests ends in the run where it is short.
Time first_difference(const TextObserver& observer) {
  Time first = Time::max();
  for (const RequestOutcome& outcome : observer.outcomes) {
    const std::uint32_t i = outcome.id.value();
    if (i >= kRequests / 2 && i % 2 == 0) first = std::min(first, outcome.finished);
  }
  return first;
}

std::vector<Command> before(const std::vector<Command>& commands, Time end) {
  std::vector<Command> result;
  std::copy_if(commands.begin(), commands.end(), std::back_inserter(result),
               [&](const Command& command) { return command.time < end; });
  return result;
}

void expect_equal(const std::vector<Command>& a, const std::vector<Command>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].time, b[i].time) << i;
    ASSERT_EQ(a[i].text, b[i].text) << i;
  }
}

struct Memory {
  std::int32_t blocks;
  bool async;
};

class SchedulerIsBlind : public ::testing::TestWithParam<Memory> {};

TEST_P(SchedulerIsBlind, UntilTheFirstCompletionThatDiffers) {
  const LinearCost cost(100, 10, 1);
  SimulationConfig config = small_config(GetParam().blocks);
  config.serving.async_scheduling = GetParam().async;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const std::vector<WorkloadRequest> requests = random_requests(seed);
    TextObserver observer, other_observer;
    ListWorkload workload(requests), other_workload(lengthen(requests));
    const auto commands = NodeWorld(config, cost, workload, observer).run();
    const auto others = NodeWorld(config, cost, other_workload, other_observer).run();
    ASSERT_EQ(observer.outcomes.size(), static_cast<std::size_t>(kRequests));
    const Time end = first_difference(observer);
    expect_equal(before(commands, end), before(others, end));
    // The comparison has something to compare, and it can tell the difference.
    EXPECT_GT(before(commands, end).size(), 60u);
    EXPECT_NE(commands.size(), others.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, SchedulerIsBlind,
                         ::testing::Values(Memory{200, false}, Memory{16, false}, Memory{200, true}, Memory{16, true}));

// Where a request goes, and when.
class RouteObserver final : public RunObserver {
 public:
  void on_request_arrived(ReplicaId replica, RequestId request, Time now) override {
    routes.push_back({now, std::to_string(request.value()) + " to " + std::to_string(replica.value())});
  }
  void on_request_outcome(const RequestOutcome& outcome) override { outcomes.on_request_outcome(outcome); }
  std::vector<Command> routes;
  TextObserver outcomes;
};

class RouterIsBlind : public ::testing::TestWithParam<RoutingName> {};

TEST_P(RouterIsBlind, UntilTheFirstCompletionThatDiffers) {
  const LinearCost cost(100, 10, 1);
  SimulationConfig config = small_config(40, 3);
  config.routing = GetParam().routing;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const std::vector<WorkloadRequest> requests = random_requests(seed);
    RouteObserver observer, other_observer;
    ListWorkload workload(requests), other_workload(lengthen(requests));
    Simulation(config, cost, workload, observer).run();
    Simulation(config, cost, other_workload, other_observer).run();
    const Time end = first_difference(observer.outcomes);
    expect_equal(before(observer.routes, end), before(other_observer.routes, end));
    EXPECT_GT(before(observer.routes, end).size(), 55u);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, RouterIsBlind, ::testing::ValuesIn(kRoutings),
                         [](const auto& test_case) { return std::string(test_case.param.name); });

}  // namespace
}  // namespace alchemist

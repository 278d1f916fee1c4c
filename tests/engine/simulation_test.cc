#include "sim/engine/simulation.h"

#include <gtest/gtest.h>

#include "tests/engine/support.h"
#include "tests/times.h"

namespace alchemist {
namespace {

using testing::LinearCost;
using testing::ListWorkload;
using testing::make_request;
using testing::small_config;
using testing::TextObserver;

// One request, prompt 3, answer 3; a step costs 100 ns + 10 ns a token. Prefill 100 + 30 = 130 yields token 1, two
// decode steps of 110 each yield tokens 2 and 3: first token at 130, last at 350.
TEST(Simulation, OneRequestByHand) {
  ListWorkload workload({make_request(at_ns(0), 3, 3, 1)});
  LinearCost cost(100, 10, 0);
  TextObserver observer;
  Simulation(small_config(10), cost, workload, observer).run();
  ASSERT_EQ(observer.outcomes.size(), 1u);
  const RequestOutcome& outcome = observer.outcomes[0];
  EXPECT_EQ(outcome.scheduled, at_ns(0));
  EXPECT_EQ(outcome.first_token, at_ns(130));
  EXPECT_EQ(outcome.finished, at_ns(350));
  EXPECT_EQ(outcome.longest_gap, Duration::nanoseconds(110));
}

// Tokens at 130 and 240; then a prompt of 20 shares a step of 100 + 10 * 21 = 310, and the last one takes 110 again.
// The second request has a single token, so no gap.
TEST(Simulation, LongestGapIsThatBesideAPrompt) {
  ListWorkload workload({make_request(at_ns(0), 3, 4, 1), make_request(at_ns(200), 20, 1, 2)});
  LinearCost cost(100, 10, 0);
  TextObserver observer;
  Simulation(small_config(10), cost, workload, observer).run();
  ASSERT_EQ(observer.outcomes.size(), 2u);
  EXPECT_FALSE(observer.outcomes[0].longest_gap.has_value());
  EXPECT_EQ(observer.outcomes[1].finished, at_ns(660));
  EXPECT_EQ(observer.outcomes[1].longest_gap, Duration::nanoseconds(310));
}

// Budget 64: a prompt of 100 takes two chunks, 64 then 36; the second request (prompt 20) shares the second step.
// Step 1: 100 + 640 = 740. Step 2: 100 + 10 * 56 = 660, both first tokens at 1400. Step 3 decodes both: 120.
TEST(Simulation, ChunkedPrefillSharesTheBudget) {
  ListWorkload workload({make_request(at_ns(0), 100, 2, 1), make_request(at_ns(1), 20, 2, 2)});
  LinearCost cost(100, 10, 0);
  TextObserver observer;
  Simulation(small_config(100), cost, workload, observer).run();
  ASSERT_EQ(observer.outcomes.size(), 2u);
  for (const RequestOutcome& outcome : observer.outcomes) {
    EXPECT_EQ(outcome.first_token, at_ns(1400));
    EXPECT_EQ(outcome.finished, at_ns(1520));
  }
  EXPECT_EQ(observer.outcomes[1].scheduled, at_ns(740));
}

// Arrives at the very moment at which a step ends: it is part of the next step.
TEST(Simulation, ArrivalAtAStepsEndJoinsTheNextStep) {
  ListWorkload workload({make_request(at_ns(0), 3, 3, 1), make_request(at_ns(130), 5, 1, 2)});
  LinearCost cost(100, 10, 0);
  TextObserver observer;
  Simulation(small_config(10), cost, workload, observer).run();
  ASSERT_EQ(observer.outcomes.size(), 2u);
  EXPECT_EQ(observer.outcomes[0].id, RequestId(1));
  EXPECT_EQ(observer.outcomes[0].scheduled, at_ns(130));
  EXPECT_EQ(observer.outcomes[0].finished, at_ns(130 + 100 + 60));
}

// Blocks of 16. The second turn repeats the first prompt (40) and answer (10, of which 9 were computed: 49 tokens =
// 3 full blocks), so 48 tokens of its prompt are found; another session finds nothing.
TEST(Simulation, NextTurnHitsThePrefixCache) {
  ListWorkload workload({make_request(at_ns(0), 40, 10, 7), make_request(at_ns(100'000), 60, 2, 7, 1),
                         make_request(at_ns(200'000), 60, 2, 8)});
  LinearCost cost(100, 10, 0);
  TextObserver observer;
  Simulation(small_config(50), cost, workload, observer).run();
  ASSERT_EQ(observer.outcomes.size(), 3u);
  EXPECT_EQ(observer.outcomes[1].prefix_hit_tokens, 48);
  EXPECT_EQ(observer.outcomes[2].prefix_hit_tokens, 0);
}

// Four blocks of 16. Two prompts of 31 take two blocks each; each fills its second block with its first decode and then
// needs a third: the older one takes the newer one's, which is recomputed later: prompt 31 + 2 generated = 33 tokens.
TEST(Simulation, NewestIsPreemptedAndRecomputed) {
  ListWorkload workload({make_request(at_ns(0), 31, 5, 1), make_request(at_ns(0), 31, 5, 2)});
  LinearCost cost(100, 10, 0);
  TextObserver observer;
  SimulationConfig config = small_config(4);
  config.serving.prefix_caching = false;
  Simulation(config, cost, workload, observer).run();
  ASSERT_EQ(observer.outcomes.size(), 2u);
  EXPECT_EQ(observer.outcomes[0].id, RequestId(0));
  EXPECT_EQ(observer.outcomes[0].preemptions, 0);
  EXPECT_EQ(observer.outcomes[1].preemptions, 1);
  // Prefill of both: 100 + 620 = 720, first tokens. Decode both: 120, at 840. From here request 0 alone, three steps of
  // 110, ends at 1170. Request 1 comes back with 33 tokens: 100 + 330, its third token at 1600, then two decodes.
  EXPECT_EQ(observer.outcomes[0].finished, at_ns(1170));
  EXPECT_EQ(observer.outcomes[1].finished, at_ns(1170 + 430 + 220));
  EXPECT_EQ(observer.outcomes[0].longest_gap, Duration::nanoseconds(120));
  EXPECT_EQ(observer.outcomes[1].longest_gap, Duration::nanoseconds(1600 - 840));
}

std::vector<WorkloadRequest> random_requests(std::uint64_t seed, int count, double mean_gap_ns, int max_prompt,
                                             int max_output) {
  RandomStream random(seed, "test");
  std::vector<WorkloadRequest> requests;
  double now = 0;
  for (int i = 0; i < count; ++i) {
    now += random.exponential(mean_gap_ns);
    requests.push_back(make_request(at_ns(static_cast<std::int64_t>(now)),
                                    static_cast<std::int32_t>(random.uniform_int(1, max_prompt)),
                                    static_cast<std::int32_t>(random.uniform_int(1, max_output)),
                                    static_cast<std::uint64_t>(random.uniform_int(0, 20))));
  }
  return requests;
}

// Asynchronous scheduling: the step that runs from 130 to 240 was planned at 0, when the first one started; a request
// that arrives at 50 is planned at 130 and computed from 240 on: 100 + 10 * (1 + 5) = 160. It would have been computed
// from 130 on otherwise. Either way the engine takes it in at 130, and the first one, which finds it idle, at once.
TEST(Simulation, AsynchronousSchedulingAdmitsOneStepLater) {
  for (const bool async : {false, true}) {
    ListWorkload workload({make_request(at_ns(0), 3, 4, 1), make_request(at_ns(50), 5, 1, 2)});
    LinearCost cost(100, 10, 0);
    TextObserver observer;
    SimulationConfig config = small_config(10);
    config.serving.async_scheduling = async;
    Simulation(config, cost, workload, observer).run();
    ASSERT_EQ(observer.outcomes.size(), 2u);
    EXPECT_EQ(observer.outcomes[0].id, RequestId(1));
    EXPECT_EQ(observer.outcomes[0].queued, at_ns(130));
    EXPECT_EQ(observer.outcomes[1].queued, at_ns(0));
    EXPECT_EQ(observer.outcomes[0].scheduled, at_ns(130));
    EXPECT_EQ(observer.outcomes[0].first_token, at_ns(async ? 240 + 160 : 130 + 160));
  }
}

struct RandomCase {
  int kv_blocks;
  int replicas;
  double mean_gap_ns;
  bool async;
  Routing routing;
  std::int64_t host_ns = 0;
};

class RunsEqualSteps : public ::testing::TestWithParam<RandomCase> {};

// Advancing many decode steps as one run gives the same results to the byte as one event a step: with memory to spare
// and under preemption, when idle and when overloaded, on one replica and on three.
TEST_P(RunsEqualSteps, ToTheByte) {
  const RandomCase& c = GetParam();
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::string texts[2];
    std::int64_t operations[2], steps[2], preemptions = 0;
    for (const bool single : {false, true}) {
      ListWorkload workload(random_requests(seed, 150, c.mean_gap_ns, 120, 100));
      LinearCost cost(100, 10, 1, c.host_ns);
      TextObserver observer;
      SimulationConfig config = small_config(c.kv_blocks, c.replicas);
      config.serving.async_scheduling = c.async;
      config.routing = c.routing;
      config.host.steps.single_steps = single;
      Simulation(config, cost, workload, observer).run();
      texts[single] = observer.text.str();
      operations[single] = observer.operations;
      steps[single] = observer.steps;
      preemptions = observer.preemptions;
    }
    ASSERT_EQ(texts[0], texts[1]) << "seed " << seed;
    EXPECT_EQ(steps[0], steps[1]);
    EXPECT_LT(operations[0], operations[1]);
    EXPECT_EQ(c.kv_blocks<30, preemptions> 0) << "the case covers what it is meant to cover";
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, RunsEqualSteps,
                         ::testing::Values(RandomCase{200, 1, 5'000, false, Routing::kLeastLoaded},
                                           RandomCase{20, 1, 2'000, false, Routing::kLeastLoaded},
                                           RandomCase{25, 1, 20'000, false, Routing::kLeastLoaded},
                                           RandomCase{200, 3, 1'500, false, Routing::kLeastLoaded},
                                           RandomCase{100, 3, 2'000, false, Routing::kPrefixAware},
                                           RandomCase{16, 2, 1'000, false, Routing::kRoundRobin},
                                           RandomCase{200, 1, 5'000, true, Routing::kLeastLoaded},
                                           RandomCase{20, 1, 2'000, true, Routing::kLeastLoaded},
                                           RandomCase{25, 1, 20'000, true, Routing::kLeastLoaded},
                                           RandomCase{100, 3, 2'000, true, Routing::kPrefixAware},
                                           RandomCase{200, 1, 5'000, true, Routing::kLeastLoaded, 150},
                                           RandomCase{20, 1, 2'000, true, Routing::kLeastLoaded, 50},
                                           RandomCase{100, 3, 2'000, true, Routing::kLeastLoaded, 400}));

class Spans final : public RunObserver {
 public:
  void on_serving_span(const ServingSpan& span) override { spans.push_back(span); }
  std::vector<ServingSpan> spans;
};

// Two answers decode together until the shorter one ends. With asynchronous scheduling the run has a step more by then.
TEST(Simulation, SpansTellHowManyDecodeWhenTheyBegin) {
  for (const bool async : {false, true}) {
    ListWorkload workload({make_request(at_ns(0), 4, 8, 1), make_request(at_ns(0), 4, 20, 2)});
    const LinearCost cost(100, 10, 0);
    Spans observer;
    SimulationConfig config = small_config(50);
    config.serving.async_scheduling = async;
    Simulation(config, cost, workload, observer).run();
    ASSERT_GE(observer.spans.size(), 3U);
    EXPECT_EQ(observer.spans[0].decodes, 0);
    EXPECT_EQ(observer.spans[1].decodes, 2) << async;
    EXPECT_GE(observer.spans[1].steps, 5);
    EXPECT_EQ(observer.spans.back().decodes, 1);
  }
}

// An answer longer than the KV memory can ever hold is refused instead of waiting forever.
TEST(Simulation, RequestThatCanNeverFitIsRejected) {
  ListWorkload workload({make_request(at_ns(0), 10, 60, 1), make_request(at_ns(5), 10, 54, 2)});
  LinearCost cost(100, 10, 0);
  TextObserver observer;
  const SimulationTotals totals = Simulation(small_config(4), cost, workload, observer).run();
  EXPECT_EQ(totals.rejected, 1);
  EXPECT_EQ(totals.completed, 1);
}

}  // namespace
}  // namespace alchemist

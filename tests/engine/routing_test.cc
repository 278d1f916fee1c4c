// Which replica serves which request, and what eviction leaves of a cached prefix, by hand.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <utility>

#include "tests/engine/support.h"
#include "tests/times.h"

namespace alchemist {
namespace {

using testing::LinearCost;
using testing::ListWorkload;
using testing::make_request;
using testing::small_config;
using testing::TextObserver;

// The replica of each request, in the order of their arrival.
std::vector<std::uint32_t> replicas_of(Routing routing, std::vector<WorkloadRequest> requests,
                                       SimulationConfig config = small_config(50, 3)) {
  ListWorkload workload(std::move(requests));
  const LinearCost cost(100, 10, 0);
  TextObserver observer;
  config.routing = routing;
  Simulation(config, cost, workload, observer).run();
  std::map<RequestId, std::uint32_t> by_id;
  for (const RequestOutcome& outcome : observer.outcomes) by_id[outcome.id] = outcome.replica.value();
  std::vector<std::uint32_t> result;
  for (const auto& [id, replica] : by_id) result.push_back(replica);
  return result;
}

// Requests 0 and 2 run for more than 50 * 110 ns; request 1 is done after 100 + 3 * 10 = 130 ns.
std::vector<WorkloadRequest> one_short_two_long() {
  return {make_request(at_ns(0), 3, 50, 1),     make_request(at_ns(1), 3, 1, 2),
          make_request(at_ns(2), 3, 50, 3),     make_request(at_ns(1'000), 3, 50, 4),
          make_request(at_ns(1'001), 3, 50, 5), make_request(at_ns(1'002), 3, 1, 6)};
}

TEST(Routing, RoundRobinTakesTurns) {
  EXPECT_EQ(replicas_of(Routing::kRoundRobin, one_short_two_long()), (std::vector<std::uint32_t>{0, 1, 2, 0, 1, 2}));
}

// At 1000 replica 1 is idle, although it would be the turn of replica 0. Then all have one request, and turns decide:
// the fifth goes to replica 1. The sixth finds loads 1, 2, 1 and the turn at replica 2.
TEST(Routing, LeastLoadedTakesTheIdleOne) {
  EXPECT_EQ(replicas_of(Routing::kLeastLoaded, one_short_two_long()), (std::vector<std::uint32_t>{0, 1, 2, 1, 1, 2}));
}

// Two replicas run one request at a time. At 4000 request 0 still runs on replica 0, and request 2 waits there; on
// replica 1 request 1 has ended, and request 3 runs alone. It is the turn of replica 0, but its load is 2.
TEST(Routing, WhoWaitsIsLoadToo) {
  SimulationConfig config = small_config(50, 2);
  config.serving.max_num_seqs = 1;
  EXPECT_EQ(
      replicas_of(Routing::kLeastLoaded,
                  {make_request(at_ns(0), 3, 100, 1), make_request(at_ns(1), 3, 20, 2), make_request(at_ns(2), 3, 1, 3),
                   make_request(at_ns(3), 3, 20, 4), make_request(at_ns(4'000), 3, 1, 5)},
                  config),
      (std::vector<std::uint32_t>{0, 1, 0, 1, 1}));
}

// All are idle at every arrival. Second turns go where the first was; a prompt that nobody knows takes its turn.
TEST(Routing, PrefixAwareReturnsToTheCache) {
  EXPECT_EQ(replicas_of(Routing::kPrefixAware,
                        {make_request(at_ns(0), 40, 2, 7), make_request(at_ns(100'000), 40, 2, 8),
                         make_request(at_ns(200'000), 60, 2, 7, 1), make_request(at_ns(300'000), 60, 2, 8, 1),
                         make_request(at_ns(400'000), 60, 2, 9)}),
            (std::vector<std::uint32_t>{0, 1, 0, 1, 1}));
}

// Prompts shorter than a block leave nothing in the cache. At 1000 replicas 0 and 2 decode one request of 3 + 8 tokens
// each, which counts as 2, and replica 1 is idle. A moment later replica 1 computes the 3 tokens of that prompt, and
// then replica 2 those of the next.
TEST(Routing, PrefixAwareWithoutHitsTakesTheLeastWork) {
  EXPECT_EQ(replicas_of(Routing::kPrefixAware, one_short_two_long()), (std::vector<std::uint32_t>{0, 1, 2, 1, 2, 0}));
}

// Prompts shorter than a block again. Replica 0 decodes a request of some 250 tokens, and replica 1 one of ten: beside
// the one each step of the answer would read more. Both run one request, and it is the turn of replica 0.
TEST(Routing, PrefixAwareCountsWhatDecodesBesideIt) {
  EXPECT_EQ(replicas_of(Routing::kPrefixAware,
                        {make_request(at_ns(0), 15, 300, 1), make_request(at_ns(25'000), 3, 200, 2),
                         make_request(at_ns(26'000), 3, 1, 3)},
                        small_config(50, 2)),
            (std::vector<std::uint32_t>{0, 1, 1}));
}

// Replica 0 knows 32 of the second turn's 60 tokens, and replica 1 none. A prompt of 40 tokens that replica 0 still
// computes is more than that, and one of 20 less.
TEST(Routing, PrefixAwareWeighsTheCacheAgainstPromptsThatWait) {
  for (const std::int32_t other : {40, 20}) {
    EXPECT_EQ(replicas_of(Routing::kPrefixAware,
                          {make_request(at_ns(0), 40, 2, 7), make_request(at_ns(50'000), 20, 2, 8),
                           make_request(at_ns(100'000), other, 2, 9), make_request(at_ns(100'001), 60, 2, 7, 1)},
                          small_config(50, 2)),
              (std::vector<std::uint32_t>{0, 1, 0, other == 40 ? 1u : 0u}))
        << other;
  }
}

// Prompts of 600 tokens that all begin with the same 512, on four replicas that are busy for a good half of the time.
// Once each has computed the shared part, everybody finds it, wherever they go.
TEST(Routing, PrefixAwareSpreadsASharedPrefix) {
  static constexpr std::array<std::uint64_t, 1> kShared = {77};
  RandomStream random(1, "test");
  std::vector<WorkloadRequest> requests;
  double now = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    now += random.exponential(1'000);
    requests.push_back(make_request(at_ns(static_cast<std::int64_t>(now)), 600, 10, 1'000 + i));
    requests.back().content.chain_ids = kShared;
    requests.back().content.chain_block_tokens = 512;
  }
  SimulationConfig config = small_config(1'000, 4);
  config.serving.max_num_batched_tokens = 2'048;
  config.routing = Routing::kPrefixAware;
  ListWorkload workload(std::move(requests));
  const LinearCost cost(100, 10, 0);
  TextObserver observer;
  Simulation(config, cost, workload, observer).run();
  std::map<std::uint32_t, int> served;
  int hits = 0;
  for (const RequestOutcome& outcome : observer.outcomes) {
    ++served[outcome.replica.value()];
    hits += outcome.prefix_hit_tokens == 512;
  }
  ASSERT_EQ(served.size(), 4u);
  for (const auto& [replica, count] : served) EXPECT_NEAR(count, 100, 25) << replica;
  EXPECT_GE(hits, 400 - 8);
}

// Six blocks of 16. A prompt of 32 fills blocks 0 and 1, which are freed last block first: the list of free blocks is
// 2 3 4 5 1 0. Another session takes as many from its front as it needs: four leave both, five take the end of the
// first prompt, six take all of it. The session's next turn finds 32, 16 or 0 tokens.
TEST(PrefixCache, EvictionTakesTheEndOfAPrefixFirst) {
  const std::vector<std::pair<std::int32_t, std::int32_t>> expected = {{64, 32}, {80, 16}, {96, 0}};
  for (const auto& [other_prompt, hit] : expected) {
    ListWorkload workload({make_request(at_ns(0), 32, 1, 7), make_request(at_ns(100'000), other_prompt - 1, 1, 8),
                           make_request(at_ns(200'000), 60, 1, 7, 1)});
    const LinearCost cost(100, 10, 0);
    TextObserver observer;
    Simulation(small_config(6), cost, workload, observer).run();
    ASSERT_EQ(observer.outcomes.size(), 3u);
    EXPECT_EQ(observer.outcomes[2].prefix_hit_tokens, hit) << other_prompt;
  }
}

// Blocks that a running request holds are never evicted: the second request shares the first's 48 tokens while it still
// decodes; a third fills what is left of the memory, and after it the first's prefix is still there.
TEST(PrefixCache, BlocksInUseStay) {
  ListWorkload workload({make_request(at_ns(0), 48, 14, 7), make_request(at_ns(800), 60, 2, 7, 1),
                         make_request(at_ns(801), 30, 2, 8), make_request(at_ns(100'000), 60, 2, 7, 2)});
  const LinearCost cost(100, 10, 0);
  TextObserver observer;
  Simulation(small_config(7), cost, workload, observer).run();
  std::map<RequestId, std::int32_t> hits;
  for (const RequestOutcome& outcome : observer.outcomes) hits[outcome.id] = outcome.prefix_hit_tokens;
  EXPECT_EQ(hits, (std::map<RequestId, std::int32_t>{
                      {RequestId(0), 0}, {RequestId(1), 48}, {RequestId(2), 0}, {RequestId(3), 48}}));
}

}  // namespace
}  // namespace alchemist

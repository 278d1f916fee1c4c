// Random engines under random traffic: whatever the settings, requests, tokens and blocks are conserved. The engine's
// own checks (Simulation::run, Scheduler, BlockPool) always run; the pool's whole structure is checked at every
// command.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/engine/node_world.h"

namespace alchemist {
namespace {

using testing::LinearCost;
using testing::ListWorkload;
using testing::make_request;
using testing::NodeWorld;
using testing::TextObserver;

struct Case {
  SimulationConfig config;
  std::vector<WorkloadRequest> requests;
};

bool flip(RandomStream& random) { return random.uniform_int(0, 1) == 1; }

std::int32_t draw(RandomStream& random, std::int32_t low, std::int32_t high) {
  return static_cast<std::int32_t>(random.uniform_int(low, high));
}

Case random_case(std::uint64_t seed) {
  RandomStream random(seed, "fuzz");
  Case c;
  ServingConfig& serving = c.config.serving;
  serving.block_size = draw(random, 1, 32);
  serving.max_num_seqs = draw(random, 1, 12);
  serving.max_num_batched_tokens = serving.max_num_seqs + draw(random, 0, 80);
  serving.prefix_caching = flip(random);
  serving.chunked_prefill = flip(random);
  serving.reserve_full_prompt = flip(random);
  serving.async_scheduling = flip(random);
  const std::int32_t max_prompt = draw(random, 1, 150), max_output = draw(random, 1, 60);
  // The largest request fits the memory exactly, or with room for more of them.
  const std::int32_t largest = (max_prompt + max_output + serving.block_size - 1) / serving.block_size;
  c.config.kv_blocks = largest * draw(random, 1, 6) + draw(random, 0, 3);
  // Without chunks a prompt, with all that was generated before a preemption, has to fit one step.
  if (!serving.chunked_prefill)
    serving.max_num_batched_tokens = std::max(serving.max_num_batched_tokens, max_prompt + max_output);
  c.config.kv_block_bytes = Bytes(1);
  const double mean_gap_ns = 500.0 * draw(random, 0, 20);
  double now = 0;
  for (int i = 0; i < 60; ++i) {
    if (mean_gap_ns > 0) now += random.exponential(mean_gap_ns);
    c.requests.push_back(make_request(Time::from_ns(static_cast<std::int64_t>(now)), draw(random, 1, max_prompt),
                                      draw(random, 1, max_output), static_cast<std::uint64_t>(draw(random, 0, 6))));
  }
  return c;
}

// Counts tokens: each answer of n tokens has n - 1 gaps.
class GapCounter final : public RunObserver {
 public:
  void on_request_outcome(const RequestOutcome& outcome) override {
    outcomes.push_back(outcome);
    expected_gaps += outcome.output_tokens - 1;
  }
  void on_token_gap(Time, Duration gap, std::int64_t count) override {
    check(gap > Duration() && count > 0, "a gap takes time");
    gaps += count;
  }
  void on_serving_span(const ServingSpan& span) override {
    check(span.start >= last_end && span.end > span.start && span.steps >= 1, "operations follow each other");
    last_end = span.end;
    prefill_tokens += span.prefill_tokens;
  }

  std::vector<RequestOutcome> outcomes;
  std::int64_t gaps = 0, expected_gaps = 0, prefill_tokens = 0;
  Time last_end;
};

TEST(Fuzz, TokensAndBlocksAreConserved) {
  std::int64_t preempted = 0, hits = 0;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    const Case c = random_case(seed);
    const LinearCost cost(100, 10, 1);
    ListWorkload workload(c.requests);
    GapCounter observer;
    ASSERT_NO_THROW(NodeWorld(c.config, cost, workload, observer).run()) << "seed " << seed;
    ASSERT_EQ(observer.outcomes.size(), c.requests.size()) << "seed " << seed;
    ASSERT_EQ(observer.gaps, observer.expected_gaps) << "seed " << seed;
    std::int64_t to_compute = 0, preemptions = 0;
    for (const RequestOutcome& o : observer.outcomes) {
      ASSERT_TRUE(o.arrived <= o.scheduled && o.scheduled < o.first_token && o.first_token <= o.finished) << seed;
      ASSERT_EQ(o.output_tokens == 1, !o.longest_gap.has_value()) << seed;
      ASSERT_TRUE(o.prefix_hit_tokens < o.prompt_tokens && o.prefix_hit_tokens % c.config.serving.block_size == 0)
          << seed;
      ASSERT_TRUE(c.config.serving.prefix_caching || o.prefix_hit_tokens == 0) << seed;
      to_compute += o.prompt_tokens - o.prefix_hit_tokens;
      preemptions += o.preemptions;
      hits += o.prefix_hit_tokens;
    }
    // Every prompt token is computed once or found in the cache; only preemptions make some be computed again.
    ASSERT_TRUE(preemptions > 0 || observer.prefill_tokens == to_compute) << "seed " << seed;
    preempted += preemptions;
  }
  EXPECT_GT(preempted, 1'000) << "the cases cover what they are meant to cover";
  EXPECT_GT(hits, 10'000);
}

// The same engines, several replicas of them, with runs of many steps and with one event a step: the same to the byte.
TEST(Fuzz, RunsEqualSteps) {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    std::string texts[2];
    for (const bool single : {false, true}) {
      Case c = random_case(seed);
      c.config.replicas = 1 + static_cast<std::int32_t>(seed % 3);
      c.config.routing = kRoutings[seed / 3 % std::size(kRoutings)].routing;
      c.config.host.steps.single_steps = single;
      ListWorkload workload(c.requests);
      const LinearCost cost(100, 10, 1);
      TextObserver observer;
      SimulationTotals totals;
      ASSERT_NO_THROW(totals = Simulation(c.config, cost, workload, observer).run()) << "seed " << seed;
      ASSERT_EQ(totals.completed, static_cast<std::int64_t>(c.requests.size()));
      texts[single] = observer.text.str();
    }
    ASSERT_EQ(texts[0], texts[1]) << "seed " << seed;
  }
}

}  // namespace
}  // namespace alchemist

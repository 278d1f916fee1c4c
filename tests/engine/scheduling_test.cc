// The order and the size of steps under each limit of the scheduler, by hand: a step costs 100 ns + 10 ns a token, and
// steps have at most 64 tokens.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <utility>
#include <vector>

#include "sim/base/error.h"
#include "tests/engine/support.h"
#include "tests/times.h"
#include "workloads/workload_source.h"

namespace alchemist {
namespace {

using testing::LinearCost;
using testing::ListWorkload;
using testing::make_request;
using testing::small_config;
using testing::TextObserver;

// Outcomes by the number of the request in the list.
std::map<std::uint32_t, RequestOutcome> outcomes_of(const SimulationConfig& config,
                                                    std::vector<WorkloadRequest> requests) {
  ListWorkload workload(std::move(requests));
  const LinearCost cost(100, 10, 0);
  TextObserver observer;
  Simulation(config, cost, workload, observer).run();
  std::map<std::uint32_t, RequestOutcome> by_id;
  for (const RequestOutcome& outcome : observer.outcomes) by_id.emplace(outcome.id.value(), outcome);
  return by_id;
}

// Two prompts of 3, 160, and two decode steps of 120 for both: the third, although there is memory, runs from 400 on.
TEST(Scheduling, NoMoreRequestsRunThanMay) {
  SimulationConfig config = small_config(50);
  config.serving.max_num_seqs = 2;
  const auto outcomes = outcomes_of(
      config, {make_request(at_ns(0), 3, 3, 1), make_request(at_ns(0), 3, 3, 2), make_request(at_ns(0), 3, 1, 3)});
  EXPECT_EQ(outcomes.at(0).finished, at_ns(400));
  EXPECT_EQ(outcomes.at(2).scheduled, at_ns(400));
}

// As Simulation.NewestIsPreemptedAndRecomputed: the second request gives way at 840, and the first ends at 1170. A
// third that came in between is behind the second, although its single block was free from 840 on; it joins it at 1170,
// when there is memory for both.
TEST(Scheduling, WhoWasPreemptedComesBackBeforeLaterOnes) {
  SimulationConfig config = small_config(4);
  config.serving.prefix_caching = false;
  const auto outcomes = outcomes_of(
      config, {make_request(at_ns(0), 31, 5, 1), make_request(at_ns(0), 31, 5, 2), make_request(at_ns(800), 10, 1, 3)});
  EXPECT_EQ(outcomes.at(1).preemptions, 1);
  EXPECT_EQ(outcomes.at(2).scheduled, at_ns(1'170));
}

// Two prompts of 40 do not fit one step of 64. Not to be cut, the second waits for a step of its own.
TEST(Scheduling, WholePromptsAreNotCut) {
  SimulationConfig config = small_config(50);
  config.serving.chunked_prefill = false;
  const auto outcomes = outcomes_of(config, {make_request(at_ns(0), 40, 1, 1), make_request(at_ns(0), 40, 1, 2)});
  EXPECT_EQ(outcomes.at(1).scheduled, at_ns(500));
  EXPECT_EQ(outcomes.at(1).first_token, at_ns(1'000));
}

// Six blocks of 16: two of them for a prompt of 32. The first 32 tokens of a prompt of 80 fit the same step and the
// memory beside it, all 80 do not.
TEST(Scheduling, APromptMayNeedMemoryForAllOfItself) {
  for (const bool reserve : {false, true}) {
    SimulationConfig config = small_config(6);
    config.serving.reserve_full_prompt = reserve;
    const auto outcomes = outcomes_of(config, {make_request(at_ns(0), 32, 10, 1), make_request(at_ns(0), 80, 1, 2)});
    EXPECT_EQ(outcomes.at(1).scheduled, reserve ? outcomes.at(0).finished : at_ns(0));
  }
}

// Prompt and answer are 49 tokens, of which the last was never computed: three blocks of 16, the third of which was
// full with the last step only.
TEST(Scheduling, TheLastBlockOfAnAnswerIsFound) {
  const auto outcomes =
      outcomes_of(small_config(50), {make_request(at_ns(0), 40, 9, 7), make_request(at_ns(100'000), 60, 2, 7, 1)});
  EXPECT_EQ(outcomes.at(1).prefix_hit_tokens, 48);
}

// One id for each 32 tokens, two blocks of 16. The first prompt has filled the first block alone, which the second
// prompt finds; that its second block has the same id does not make it the same.
TEST(Scheduling, BlocksOfOneChainIdAreDifferent) {
  static constexpr std::array<std::uint64_t, 2> kIds = {77, 78};
  std::vector<WorkloadRequest> requests = {make_request(at_ns(0), 16, 1, 1), make_request(at_ns(100'000), 50, 1, 2)};
  for (WorkloadRequest& request : requests) {
    request.content.chain_ids = kIds;
    request.content.chain_block_tokens = 32;
  }
  EXPECT_EQ(outcomes_of(small_config(50), requests).at(1).prefix_hit_tokens, 16);
}

// Five blocks of 16, two for each prompt. First tokens come at 680, and one more each 120. At 920 the second request
// has 32 tokens and takes the last block; at 1160 the first has as many and takes one of the second, which has given
// five tokens by then. The first ends after three steps of 110, at 1490. Of 35 tokens the second finds 32, of its
// prompt of 30 and of its answer: it computes three, 130, and its next token comes 460 after the one before.
TEST(Scheduling, GeneratedTokensAreFoundAfterAPreemption) {
  const auto outcomes =
      outcomes_of(small_config(5), {make_request(at_ns(0), 28, 8, 1), make_request(at_ns(0), 30, 8, 2)});
  EXPECT_EQ(outcomes.at(1).preemptions, 1);
  EXPECT_EQ(outcomes.at(1).longest_gap, Duration::nanoseconds(460));
}

// Five blocks of 16. Both prompts take 730, then both decode, 120, and at 850 the second request has 32 tokens: its
// third block would be the sixth. The first ends at 960, behind a step of 110 alone. Then the second goes on with its
// 33rd token, which it does not find: 110. With asynchronous scheduling it gave way while its 32nd token was under way,
// and the block which that filled is not found either, as in vLLM: 17 tokens, 270.
TEST(Scheduling, TheBlockUnderWayIsLostWithAPreemption) {
  for (const bool async : {false, true}) {
    SimulationConfig config = small_config(5);
    config.serving.async_scheduling = async;
    const auto outcomes = outcomes_of(config, {make_request(at_ns(0), 32, 3, 1), make_request(at_ns(0), 31, 3, 2)});
    EXPECT_EQ(outcomes.at(0).finished, at_ns(960));
    EXPECT_EQ(outcomes.at(1).finished, at_ns(async ? 1'230 : 1'070));
  }
}

// A prompt of 40 is not cut, and finds no place beside a decode step in steps of at most 40 tokens. It is that of the
// request which decodes, and goes on with the answer: a block of that is known when its 16 tokens are computed, and the
// rest, 24, fits. The first 10 take 200 and each step behind them 110, so that the 17th is computed from 860 on, with
// these 24 in 350. Steps are planned while the ones before them run.
TEST(Scheduling, APromptIsLookedAtAgainAsItsAnswerGrows) {
  SimulationConfig config = small_config(50);
  config.serving.max_num_batched_tokens = 40;
  config.serving.chunked_prefill = false;
  config.serving.async_scheduling = true;
  const auto outcomes = outcomes_of(config, {make_request(at_ns(0), 10, 30, 7), make_request(at_ns(0), 40, 1, 7, 1)});
  EXPECT_EQ(outcomes.at(1).scheduled, at_ns(750));
  EXPECT_EQ(outcomes.at(1).prefix_hit_tokens, 16);
  EXPECT_EQ(outcomes.at(1).first_token, at_ns(1'210));
}

// 20 tokens are served, 21 are not.
TEST(Scheduling, TheLongestRequestIsServed) {
  SimulationConfig config = small_config(50);
  config.serving.max_model_len = 20;
  const auto outcomes = outcomes_of(config, {make_request(at_ns(0), 15, 5, 1), make_request(at_ns(0), 15, 6, 2)});
  EXPECT_EQ(outcomes.count(0), 1u);
  EXPECT_EQ(outcomes.count(1), 0u);
}

// One user, whose first turn is too long, and who asks again when told so.
class ImpatientUser final : public WorkloadSource {
 public:
  std::optional<Time> peek() const override {
    if (given_ == 0) return at_ns(0);
    return given_ == 1 && told_ ? std::optional(at_ns(10)) : std::nullopt;
  }
  WorkloadRequest next() override {
    return given_++ == 0 ? make_request(at_ns(0), 10'000, 1, 1) : make_request(at_ns(10), 3, 1, 1, 1);
  }
  void on_finished(SessionId, std::int32_t, Time) override { told_ = true; }
  bool exhausted() const override { return given_ == 2; }
  std::optional<std::int64_t> total_requests() const override { return 2; }

 private:
  int given_ = 0;
  bool told_ = false;
};

TEST(Scheduling, TheUserIsToldOfARefusal) {
  ImpatientUser workload;
  const LinearCost cost(100, 10, 0);
  TextObserver observer;
  const SimulationTotals totals = Simulation(small_config(10), cost, workload, observer).run();
  EXPECT_EQ(totals.rejected, 1);
  EXPECT_EQ(totals.completed, 1);
}

// A user without think time, all of whose requests are too long, would ask for ever at one moment.
TEST(Scheduling, AClosedLoopOfRefusalsEnds) {
  GeneratedWorkload users;
  users.arrivals = ClosedLoopArrivals{1};
  users.lengths = IndependentLengths{FixedTokens{30}, FixedTokens{5}};
  users.sessions.emplace();
  users.sessions->think_time = {DurationDistribution::Kind::fixed, Duration()};
  WorkloadSpec spec;
  spec.source = users;
  spec.duration = Duration::seconds(10);
  const auto workload = make_source(spec, 1);
  SimulationConfig config = small_config(50);
  config.serving.max_model_len = 20;
  const LinearCost cost(100, 10, 0);
  TextObserver observer;
  EXPECT_THROW(Simulation(config, cost, *workload, observer).run(), ConfigError);
}

}  // namespace
}  // namespace alchemist

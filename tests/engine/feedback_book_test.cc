#include "sim/engine/feedback_book.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <queue>
#include <utility>

#include "tests/engine/support.h"
#include "workloads/workload_source.h"

namespace alchemist {
namespace {

// A request that gets feedback with either share gets it after the same delay, so that runs with different shares can
// be compared.
TEST(FeedbackBook, DelaysDoNotDependOnTheShare) {
  testing::TextObserver observer;
  FeedbackConfig all, some;
  all.share = 1;
  some.share = 0.3;
  FeedbackBook book_of_all(1, all, observer), book_of_some(1, some, observer);
  int both = 0;
  for (std::uint32_t i = 0; i < 200; ++i) {
    const auto a = book_of_all.draw_for(SessionId(i), 0), b = book_of_some.draw_for(SessionId(i), 0);
    ASSERT_TRUE(a);
    if (!b) continue;
    EXPECT_EQ(*a, *b);
    ++both;
  }
  EXPECT_NEAR(both, 0.3 * 200, 30);
}

// Runs of one seed can be compared; those of another tell how much is chance: of 2,000 turns half agree by it on
// whether feedback comes (deviation 22), none on when.
TEST(FeedbackBook, AnotherSeedGivesOtherFeedback) {
  testing::TextObserver observer;
  FeedbackConfig config;
  config.share = 0.5;
  const FeedbackBook book(1, config, observer), again(1, config, observer), other(2, config, observer);
  int agree = 0, at_once = 0;
  for (std::uint32_t i = 0; i < 2'000; ++i) {
    const auto a = book.draw_for(SessionId(i), 0), b = other.draw_for(SessionId(i), 0);
    EXPECT_EQ(a, again.draw_for(SessionId(i), 0));
    agree += a.has_value() == b.has_value() ? 1 : 0;
    at_once += a && a == b ? 1 : 0;
  }
  EXPECT_NEAR(agree, 1'000, 110);
  EXPECT_EQ(at_once, 0);
}

// Of 40,000 turns 0.3 get feedback (deviation 0.0023); the delays have the mean and the deviation of their
// distribution, of an exponential and, in their logarithms, of a lognormal one. Neighbouring turns have nothing to do
// with each other.
TEST(FeedbackBook, SharesAndDelaysAreAsConfigured) {
  testing::TextObserver observer;
  for (const auto kind : {DurationDistribution::Kind::exponential, DurationDistribution::Kind::lognormal}) {
    FeedbackConfig config;
    config.delay.kind = kind;
    config.delay.mean = Duration::seconds(10);
    config.delay.sigma = 0.5;
    const FeedbackBook book(7, config, observer);
    double count = 0, both = 0, sum = 0, squares = 0;
    bool last = false;
    for (std::uint32_t i = 0; i < 40'000; ++i) {
      const auto delay = book.draw_for(SessionId(i / 4), static_cast<std::int32_t>(i % 4));
      both += last && delay;
      last = delay.has_value();
      if (!delay) continue;
      const double seconds = delay->in_seconds();
      const double x = kind == DurationDistribution::Kind::lognormal ? std::log(seconds / 10) : seconds / 10;
      ++count;
      sum += x;
      squares += x * x;
    }
    const double mean = sum / count, deviation = std::sqrt(squares / count - mean * mean);
    const bool lognormal = kind == DurationDistribution::Kind::lognormal;
    EXPECT_NEAR(count / 40'000, 0.3, 0.008);
    EXPECT_NEAR(both / 40'000, 0.09, 0.006);
    EXPECT_NEAR(mean, lognormal ? 0 : 1, 0.03);
    EXPECT_NEAR(deviation, lognormal ? 0.5 : 1, 0.04);
  }
}

using TurnId = std::pair<std::uint64_t, std::int32_t>;

// The feedback of a closed loop's turns, by the order in which they arrive, where answers take so long for each token.
std::vector<std::pair<TurnId, std::optional<Duration>>> feedback_in_closed_loop(Duration per_token) {
  WorkloadSpec spec;
  GeneratedWorkload generated;
  generated.arrivals = ClosedLoopArrivals{8};
  generated.lengths = IndependentLengths{UniformTokens{10, 500}, UniformTokens{10, 500}};
  generated.sessions.emplace();
  generated.sessions->turns = {TurnsSpec::Kind::geometric, 3};
  spec.source = generated;
  spec.requests = 500;
  testing::TextObserver observer;
  const FeedbackBook book(1, FeedbackConfig(), observer);
  const auto source = make_source(spec, 1);
  std::priority_queue<std::pair<Time, TurnId>, std::vector<std::pair<Time, TurnId>>, std::greater<>> answers;
  std::vector<std::pair<TurnId, std::optional<Duration>>> result;
  while (!source->exhausted()) {
    const auto arrival = source->peek();
    if (arrival && (answers.empty() || *arrival <= answers.top().first)) {
      const WorkloadRequest request = source->next();
      const TurnId turn{request.session.value(), request.turn};
      result.emplace_back(turn, book.draw_for(request.session, request.turn));
      answers.push({request.arrival + per_token * request.output_tokens, turn});
    } else {
      const auto [at, turn] = answers.top();
      answers.pop();
      source->on_finished(SessionId(turn.first), turn.second, at);
    }
  }
  return result;
}

// Where answers take longer, other turns arrive first. What feedback a turn gets is the same.
TEST(FeedbackBook, ATurnOfAClosedLoopGetsTheSameFeedbackWhateverItsOrder) {
  const auto fast = feedback_in_closed_loop(Duration::milliseconds(5));
  const auto slow = feedback_in_closed_loop(Duration::milliseconds(200));
  const std::map<TurnId, std::optional<Duration>> of_slow(slow.begin(), slow.end());
  ASSERT_EQ(fast.size(), 500u);
  int both = 0, elsewhere = 0;
  for (std::size_t i = 0; i < fast.size(); ++i) {
    elsewhere += fast[i].first != slow[i].first;
    const auto found = of_slow.find(fast[i].first);
    if (found == of_slow.end()) continue;
    ++both;
    EXPECT_EQ(found->second, fast[i].second);
  }
  EXPECT_GT(both, 300);
  EXPECT_GT(elsewhere, 100);
}

}  // namespace
}  // namespace alchemist

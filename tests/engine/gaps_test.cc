// Which gaps between two steps of serving training uses, and how much of them.
#include <gtest/gtest.h>

#include <vector>

#include "tests/engine/training_world.h"

namespace alchemist {
namespace {

using testing::make_request;
using testing::TrainingObserver;
using testing::World;

// Feedback on the first answer comes while the second prompt, of 400 tokens, is computed in 500 us. A gap of 400 us is
// allowed. The prompt's step says nothing of the next one, a decode step of 101 us: training has the rest of the first
// gap.
TEST(TrainingGaps, TheFirstGapBehindAPromptIsUsed) {
  World world;
  world.step_tokens = 1'024;
  world.max_itl = Duration::microseconds(400);
  TrainingObserver observer;
  const Time second = Time::from_ns(2'000'000);
  world.run({"none", "none", "none", "none", "headroom"},
            {make_request(at_ms(0), 50, 11, 1), make_request(second, 400, 50, 2)}, observer, 4'000, 1.0,
            Duration::milliseconds(1));
  const Time first_token = observer.outcomes.at(RequestId(1)).first_token;
  EXPECT_EQ(first_token, second + Duration::microseconds(500));
  ASSERT_FALSE(observer.pieces.empty());
  EXPECT_EQ(observer.pieces[0].start, first_token);
  EXPECT_LE(observer.pieces[0].end - first_token, Duration::microseconds(299));
  EXPECT_GT(observer.steps.size(), 0u);
}

// What is left of a piece may be too much for the rest of a gap, and yet fit the next one, a decode step of some 100 us
// later: training does not wait for longer.
TEST(TrainingGaps, WhatDoesNotFitTheRestOfAGapIsRunInTheNext) {
  World world;
  world.step_tokens = 1'024;
  world.max_itl = Duration::microseconds(900);
  TrainingObserver observer;
  std::vector<WorkloadRequest> requests;
  for (std::uint64_t i = 1; i <= 8; ++i) requests.push_back(make_request(at_ms(0), 500, 20, i));
  requests.push_back(make_request(at_ms(20), 50, 400, 9));
  world.run({"none", "none", "none", "none", "headroom"}, requests, observer, 4'000, 1.0, Duration::milliseconds(1));
  ASSERT_GT(observer.pieces.size(), 20u);
  std::size_t waited = 0;
  for (std::size_t i = 1; i < observer.pieces.size(); ++i) {
    const Time since = observer.pieces[i - 1].end, until = observer.pieces[i].start;
    if (since < at_ms(22)) continue;  // prompts are computed before
    EXPECT_LE(until - since, Duration::microseconds(250)) << i;
    if (until - since > Duration::microseconds(50)) ++waited;
  }
  EXPECT_GT(waited, 3u) << "some pieces are parted by a step";
}

// A prompt of 600 us every 3 ms, and decode steps of some 101 us in between. Training hides behind them for this share
// of decode's time, from when feedback comes, so long after the answers.
struct Hidden {
  Hidden(double stretch, Duration delay) {
    World world;
    world.step_tokens = 1'024;
    world.stretch = stretch;
    std::vector<WorkloadRequest> requests;
    for (std::int64_t i = 0; i < 200; ++i) {
      requests.push_back(make_request(at_ms(3 * i), 500, 60, static_cast<std::uint64_t>(i + 1)));
    }
    const SimulationTotals totals =
        world.run({"none", "none", "none", "none", "headroom"}, requests, observer, 8'000, 1.0, delay);
    end = totals.end;
    for (const TrainingSpan& piece : observer.pieces) trained += piece.end - piece.start;
  }
  TrainingObserver observer;
  Time end;
  Duration trained;
};

// Hidden training takes its share of the time of decode steps, however long its pieces are beside it, and none of the
// gaps is longer than the longest few percent of steps. It saves until a whole piece fits or a part fills such a gap,
// beside a decode step.
TEST(TrainingGaps, HiddenTrainingKeepsToItsShare) {
  for (const double stretch : {0.02, 0.05}) {
    const Hidden run(stretch, Duration::milliseconds(1));
    for (const TrainingSpan& piece : run.observer.pieces) {
      EXPECT_LE(piece.end - piece.start, Duration::microseconds(600));
    }
    const double share = run.trained / (run.end - Time());
    EXPECT_GT(share, 0.6 * stretch) << "prompts take the rest of the time";
    EXPECT_LE(share, stretch);
    EXPECT_GT(run.trained, Duration::microseconds(250) * static_cast<std::int64_t>(run.observer.pieces.size()));
  }
}

// Time in which there was nothing to train is not saved up for later, beyond one gap: half way through the run, when
// feedback begins to come, the share is that of the other half.
TEST(TrainingGaps, HiddenTrainingSavesForOneGapAlone) {
  const Duration delay = Duration::milliseconds(300);
  const Hidden run(0.05, delay);
  EXPECT_GT(run.trained, Duration());
  EXPECT_LE(run.trained, scaled(run.end - Time() - delay, 0.05) + Duration::microseconds(600));
}

}  // namespace
}  // namespace alchemist

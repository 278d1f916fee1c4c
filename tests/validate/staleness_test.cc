#include "validate/staleness.h"

#include <sstream>

#include "tests/validate/support.h"

namespace alchemist {
namespace {

StalenessOptions small_staleness() {
  return {
      .max_lag = 4, .warm_up_steps = 2, .repeats = 2, .batch = {.samples = 2, .prompt_tokens = 20, .answer_tokens = 8}};
}

std::vector<StalenessPoint> measure(TrainingMethod method, double learning_rate,
                                    RecordedRows recorded = RecordedRows::prompts) {
  DecoderOptions options = small_options<float>(method);
  options.optimizer.learning_rate = learning_rate;
  const auto device = cpu::make_device<float>(std::int64_t{1} << 30);
  const auto model = make_decoder(*device, options);
  StalenessOptions staleness = small_staleness();
  staleness.recorded = recorded;
  return measure_staleness(*model, staleness);
}

// A record as old as the weights gives the very same gradient. Every further step moves the weights on, and the
// gradient further away; in weights that do not move nothing is ever stale.
TEST(Staleness, GrowsWithTheLagFromExactlyNothing) {
  for (const TrainingMethod method : {TrainingMethod::lora, TrainingMethod::full}) {
    const std::vector<StalenessPoint> points = measure(method, 1e-3);
    ASSERT_EQ(points.size(), 10u);
    for (const StalenessPoint& point : points) {
      if (point.lag == 0) {
        EXPECT_EQ(point.relative_error, 0);
        EXPECT_NEAR(point.cosine, 1, 1e-15);
      } else {
        EXPECT_GT(point.relative_error, 1e-6);
        EXPECT_LT(point.cosine, 1);
      }
    }
    for (const std::size_t first : {0u, 5u}) {
      EXPECT_GT(points[first + 4].relative_error, points[first + 1].relative_error);
    }
  }
  for (const StalenessPoint& point : measure(TrainingMethod::full, 0)) EXPECT_EQ(point.relative_error, 0);
}

// Answers bring the final hidden states from the record too.
TEST(Staleness, OfRecordedAnswersIsLarger) {
  const std::vector<StalenessPoint> prompts = measure(TrainingMethod::full, 1e-3);
  const std::vector<StalenessPoint> all = measure(TrainingMethod::full, 1e-3, RecordedRows::all);
  EXPECT_EQ(all[0].relative_error, 0);
  EXPECT_NEAR(all[0].loss, prompts[0].loss, 1e-5);
  EXPECT_GT(all[4].relative_error, prompts[4].relative_error);
}

TEST(Staleness, WritesOneLineAPoint) {
  std::ostringstream out;
  write_staleness(out, {{2, 1, 0.5, 0.25, 3}});
  EXPECT_EQ(out.str(), "lag,repeat,cosine,relative_error,loss\n2,1,0.500000000,2.500000e-01,3.000000\n");
}

}  // namespace
}  // namespace alchemist

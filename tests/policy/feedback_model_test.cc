#include "sim/policy/feedback_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "sim/base/random.h"

namespace alchemist {
namespace {

TEST(FeedbackModel, KnowsNothingAtFirst) {
  FeedbackModel model;
  EXPECT_FALSE(model.knows());
  EXPECT_EQ(model.wanted_within(100), 0);
}

// Of a share of 0.3 feedback comes after an exponential delay of 20 s, and every record is given up at 60 s. Within t
// seconds it comes with probability 0.3 (1 - exp(-t / 20)).
TEST(FeedbackModel, LearnsShareAndDelayFromCensoredRecords) {
  FeedbackModel model;
  RandomStream random(3, "feedback");
  for (int i = 0; i < 3'000; ++i) {
    const bool comes = random.uniform() < 0.3;
    const double delay = random.exponential(20);
    if (comes && delay < 60) {
      model.learn(Duration::seconds(delay), true);
    } else {
      model.learn(Duration::seconds(60), false);
    }
  }
  ASSERT_TRUE(model.knows());
  for (const double t : {2.0, 5.0, 10.0, 20.0, 40.0}) {
    EXPECT_NEAR(model.wanted_within(t), 0.3 * (1 - std::exp(-t / 20)), 0.02) << t;
  }
}

// Records that are still waiting count with the time that they have waited: without them, the 60 whose feedback came at
// 1 s would make it look certain.
TEST(FeedbackModel, OpenRecordsCount) {
  FeedbackModel model;
  for (int i = 0; i < 60; ++i) model.learn(Duration::seconds(1), true);
  EXPECT_GT(model.wanted_within(1), 0.6);
  model.observe_open(std::vector<Duration>(540, Duration::seconds(10)));
  // 60 events in 600 records of which all lived for a second: a chance of 1 - exp(-0.1) or so.
  EXPECT_NEAR(model.wanted_within(1), 0.1, 0.03);
  model.observe_open({});
  EXPECT_GT(model.wanted_within(1), 0.6) << "replaces the ones given before";
}

// Feedback on every record a quarter of a second after it: four a second of those that wait. At that rate a record that
// is given up at age t has seen its feedback with probability 1 - exp(-4 t), and has waited (1 - exp(-4 t)) / 4 on
// average. That so much has been seen that the past has faded changes neither.
TEST(FeedbackModel, ProspectsAtAConstantRate) {
  for (const int records : {100, 20'000}) {
    FeedbackModel model;
    for (int i = 0; i < records; ++i) model.learn(Duration::milliseconds(250), true);
    for (const FeedbackModel::Prospect& prospect : model.prospects()) {
      EXPECT_NEAR(prospect.wanted, 1 - std::exp(-4 * prospect.age_s), 1e-9) << prospect.age_s;
      EXPECT_NEAR(prospect.wait_s, (1 - std::exp(-4 * prospect.age_s)) / 4, 1e-9) << prospect.age_s;
    }
  }
}

TEST(FeedbackModel, NeverFallsWithAge) {
  FeedbackModel model;
  for (int i = 1; i <= 100; ++i) model.learn(Duration::milliseconds(i * 317), i % 3 == 0);
  double last = 0;
  for (double t = 0.01; t < 1e5; t *= 1.7) {
    EXPECT_GE(model.wanted_within(t), last);
    last = model.wanted_within(t);
  }
  EXPECT_LE(last, 1);
}

// Of the same records: P(t) = 0.3 (1 - exp(-t / 20)); a record that is given up at T waits, in the mean, the integral
// of 1 - P over 0..T.
TEST(FeedbackModel, ProspectsOfEachAge) {
  FeedbackModel model;
  for (const FeedbackModel::Prospect& prospect : model.prospects()) {
    EXPECT_EQ(prospect.wanted, 0);
    EXPECT_DOUBLE_EQ(prospect.wait_s, prospect.age_s);  // nothing is known to come
  }
  RandomStream random(4, "feedback");
  for (int i = 0; i < 3'000; ++i) {
    const bool comes = random.uniform() < 0.3;
    const double delay = random.exponential(20);
    const bool in_time = comes && delay < 60;
    model.learn(Duration::seconds(in_time ? delay : 60), in_time);
  }
  double before = 0;
  for (const FeedbackModel::Prospect& prospect : model.prospects()) {
    EXPECT_GT(prospect.age_s, before);
    before = prospect.age_s;
    if (prospect.age_s > 60) break;
    const double t = prospect.age_s;
    EXPECT_NEAR(prospect.wanted, model.wanted_within(t), 1e-12);
    EXPECT_NEAR(prospect.wait_s, 0.7 * t + 0.3 * 20 * (1 - std::exp(-t / 20)), 0.02 * t);
  }
}

}  // namespace
}  // namespace alchemist

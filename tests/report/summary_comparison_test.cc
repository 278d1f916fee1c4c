// A real run's numbers beside those of its simulations.
#include "sim/report/summary_comparison.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace alchemist {
namespace {

Summary summary(std::int64_t completed, double duration_s) {
  Summary s;
  s.completed = completed;
  s.duration_s = duration_s;
  return s;
}

const SummaryDifference* find(const std::vector<SummaryDifference>& differences, const std::string& key) {
  const auto found = std::find_if(differences.begin(), differences.end(),
                                  [&](const SummaryDifference& difference) { return difference.key == key; });
  return found == differences.end() ? nullptr : &*found;
}

std::string line_of(const std::string& text, const std::string& key) {
  const std::size_t begin = text.find("\n" + key) + 1;
  return text.substr(begin, text.find('\n', begin) - begin);
}

// Ten requests in 2 s. Simulated: twelve in 1 s, half as long; with the run's own prices eight in 3 s, half as long
// again; at its speed ten in 2.5 s.
TEST(SummaryComparison, ErrorsAreSignedSharesOfTheRealRun) {
  const auto differences = compare_summaries(summary(10, 2), summary(12, 1), summary(8, 3), summary(10, 2.5));
  const std::string csv = difference_csv(differences);
  EXPECT_EQ(csv.substr(0, csv.find('\n')),
            "metric,real,simulated,error,repriced,repriced_error,at_speed,at_speed_error");
  EXPECT_EQ(line_of(csv, "completed"), "completed,10,12,0.2,8,-0.2,10,0");
  EXPECT_EQ(line_of(csv, "duration_s"), "duration_s,2,1,-0.5,3,0.5,2.5,0.25");
  EXPECT_EQ(line_of(difference_table(differences), "duration_s"),
            "duration_s                                           2                 1   -50.0 %                 3"
            "   +50.0 %               2.5   +25.0 %");
}

TEST(SummaryComparison, WhereNothingIsRealThereIsNoError) {
  Summary preempted = summary(10, 2);
  preempted.num_preemptions = 3;
  const auto differences = compare_summaries(summary(10, 2), preempted, summary(10, 2), {});
  const SummaryDifference* preemptions = find(differences, "num_preemptions");
  ASSERT_TRUE(preemptions);
  EXPECT_EQ(preemptions->simulated.value, 3);
  EXPECT_FALSE(preemptions->simulated.error);
  EXPECT_FALSE(preemptions->at_speed);
  EXPECT_EQ(line_of(difference_csv(differences), "num_preemptions"), "num_preemptions,0,3,,0,,,");
}

// What the configuration sets is no outcome, and what one of them has not cannot be compared.
TEST(SummaryComparison, OnlyOutcomesThatAllHaveAreCompared) {
  Summary with = summary(10, 2);
  with.train_step_ms = 5;
  with.training.max_tokens = 7;
  const Summary without = summary(10, 2);
  EXPECT_TRUE(find(compare_summaries(with, with, with, {}), "train_step_ms"));
  EXPECT_FALSE(find(compare_summaries(with, without, with, {}), "train_step_ms"));
  EXPECT_FALSE(find(compare_summaries(with, with, without, {}), "train_step_ms"));
  EXPECT_FALSE(find(compare_summaries(without, with, with, {}), "train_step_ms"));
  for (const char* given : {"gpu_memory_bytes", "peak_weights_bytes", "train_max_tokens", "seed", "saturated"}) {
    EXPECT_FALSE(find(compare_summaries(with, with, with, {}), given)) << given;
  }
}

}  // namespace
}  // namespace alchemist

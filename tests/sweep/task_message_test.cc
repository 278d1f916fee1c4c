#include "sim/sweep/task_message.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

TEST(TaskMessage, TasksArriveAsTheyWereSent) {
  RunTask task{.point = 3, .seed = 9'000'000'000'000};
  task.base = std::make_shared<const SweepBase>(SweepBase{"model: tiny\n# \"ü\"\n", "a b/e.yaml"});
  task.overrides = {{"workload.rate", "4", "s.yaml:3"}, {"policy", "./y.yaml", "s.yaml:4", "a/s.yaml"}};
  task.directory = "out/points/3-1";
  const RunTask read = read_task(task_message(task));
  EXPECT_EQ(read.point, 3);
  EXPECT_EQ(read.seed, 9'000'000'000'000);
  EXPECT_EQ(read.base->text, task.base->text);
  EXPECT_EQ(read.base->origin, "a b/e.yaml");
  ASSERT_EQ(read.overrides.size(), 2U);
  EXPECT_EQ(read.overrides[1].key_path, "policy");
  EXPECT_EQ(read.overrides[1].text, "./y.yaml");
  EXPECT_EQ(read.overrides[1].label, "s.yaml:4");
  EXPECT_EQ(read.overrides[1].origin, "a/s.yaml");
  EXPECT_EQ(read.directory, "out/points/3-1");
  task.directory.reset();
  EXPECT_EQ(read_task(task_message(task)).directory, std::nullopt);
}

TEST(TaskMessage, OutcomesArriveAsTheyWereSent) {
  const RunOutcome outcome{.point = 1,
                           .seed = 2,
                           .status = RunStatus::kUnwritable,
                           .message = "full",
                           .config = "c",
                           .summary = "{\"a\": 0.1}"};
  const RunOutcome read = read_outcome(outcome_message(outcome));
  EXPECT_EQ(read.point, 1);
  EXPECT_EQ(read.seed, 2);
  EXPECT_EQ(read.status, RunStatus::kUnwritable);
  EXPECT_EQ(read.message, "full");
  EXPECT_EQ(read.config, "c");
  EXPECT_EQ(read.summary, outcome.summary);
}

// A path may hold any bytes, and so may what speaks of it.
TEST(TaskMessage, BytesThatAreNoTextArriveAsTheyAre) {
  RunTask task{.point = 1, .seed = 2};
  task.base = std::make_shared<const SweepBase>(SweepBase{"a: \xfe\n", "x\xff.yaml"});
  task.directory = "out\xff/points/1-2";
  EXPECT_EQ(read_task(task_message(task)).directory, task.directory);
  EXPECT_EQ(read_task(task_message(task)).base->origin, "x\xff.yaml");
  EXPECT_EQ(read_task(task_message(task)).base->text, "a: \xfe\n");
  const RunOutcome outcome{.point = 1, .seed = 2, .status = RunStatus::kFailed, .message = "x\xff.yaml: no such file"};
  EXPECT_EQ(read_outcome(outcome_message(outcome)).status, RunStatus::kFailed);
  EXPECT_EQ(read_outcome(outcome_message(outcome)).message, outcome.message);
}

}  // namespace
}  // namespace alchemist

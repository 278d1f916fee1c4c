#include "sim/sweep/thread_executor.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <set>
#include <stdexcept>

#include "sim/base/error.h"

namespace alchemist {
namespace {

constexpr const char* kExperiment =
    "model: tiny\nhardware: cpu-2core\nworkload: {arrivals: {fixed: {rate: 4}}, lengths: {fixed: {prompt: 10, output: "
    "2}}, requests: 3}\n";

std::vector<RunTask> tasks(std::size_t count, const std::vector<YamlOverride>& overrides = {}) {
  const auto base = std::make_shared<const SweepBase>(SweepBase{kExperiment, "e.yaml"});
  std::vector<RunTask> tasks;
  for (std::size_t i = 0; i < count; ++i)
    tasks.push_back({.point = static_cast<std::int64_t>(i), .seed = 1, .base = base, .overrides = overrides});
  return tasks;
}

struct Listener : SweepListener {
  std::multiset<std::int64_t> points;
  std::vector<RunOutcome> outcomes;

  void on_outcome(const RunOutcome& outcome) override {
    points.insert(outcome.point);
    outcomes.push_back(outcome);
  }
  void on_tick(std::int64_t) override {}
};

TEST(ThreadExecutor, EveryTaskHasOneOutcome) {
  for (const std::size_t threads : {1U, 3U, 50U}) {
    Listener listener;
    ThreadExecutor(threads).run(tasks(20), listener);
    EXPECT_EQ(listener.outcomes.size(), 20U);
    for (std::int64_t point = 0; point < 20; ++point) EXPECT_EQ(listener.points.count(point), 1U);
    for (const RunOutcome& outcome : listener.outcomes) {
      EXPECT_EQ(outcome.status, RunStatus::kOk) << outcome.message;
      EXPECT_EQ(outcome.summary, listener.outcomes.front().summary);  // the same run twenty times
    }
  }
  Listener listener;
  ThreadExecutor(2).run({}, listener);
  EXPECT_TRUE(listener.outcomes.empty());
}

TEST(ThreadExecutor, MistakesAreOutcomes) {
  Listener listener;
  ThreadExecutor(2).run(tasks(3, {{"serving.block_size", "0", "s.yaml:4"}}), listener);
  ASSERT_EQ(listener.outcomes.size(), 3U);
  EXPECT_EQ(listener.outcomes[0].status, RunStatus::kFailed);
  EXPECT_EQ(listener.outcomes[0].message.substr(0, 35), "s.yaml:4: key serving.block_size: e")
      << listener.outcomes[0].message;
}

// A billion requests would take half an hour: the run ends when the listener has had enough.
TEST(ThreadExecutor, RunningTasksEndWithTheListener) {
  struct Impatient : Listener {
    void on_tick(std::int64_t running) override {
      EXPECT_EQ(running, 2);
      throw std::runtime_error("enough");
    }
  };
  Impatient listener;
  EXPECT_THROW(ThreadExecutor(2).run(tasks(4, {{"workload.requests", "1000000000", ""}}), listener),
               std::runtime_error);
  EXPECT_TRUE(listener.outcomes.empty());
}

// Of a process that may have no more threads, as a limit for its user or its memory may say.
TEST(ThreadExecutor, ALimitOfThreadsIsTheUsersMatter) {
  pthread_attr_t before, huge;  // no address space has room for a stack of that size
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  ASSERT_EQ(pthread_attr_init(&huge), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, std::size_t{1} << 60), 0);
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  Listener listener;
  EXPECT_THROW(ThreadExecutor(2).run(tasks(3), listener), ConfigError);
  EXPECT_TRUE(listener.outcomes.empty());
  ASSERT_EQ(pthread_setattr_default_np(&before), 0);
  pthread_attr_destroy(&before);
  pthread_attr_destroy(&huge);
  ThreadExecutor(2).run(tasks(3), listener);
  EXPECT_EQ(listener.outcomes.size(), 3U);
}

}  // namespace
}  // namespace alchemist

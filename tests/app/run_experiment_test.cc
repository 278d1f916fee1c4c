// Numbers of whole runs that depend on how they are wired.
#include "sim/app/run_experiment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "sim/app/event_log.h"
#include "sim/app/experiment_world.h"
#include "sim/base/check.h"
#include "sim/base/observer.h"
#include "sim/report/metrics.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

using ::testing::HasSubstr;

struct Run {
  Experiment experiment;
  Summary summary;
};

Experiment two_h200(const std::string& policy, bool async_scheduling, const std::string& step_overhead,
                    const std::string& share = "1") {
  return read_experiment(YamlValue::parse(
      "model: llama-3.1-8b\nhardware: {base: h200, step_overhead: " + step_overhead +
          "}\nworkload: {arrivals: {fixed: {rate: 2}}, lengths: {fixed: {prompt: 900, output: 200}}, "
          "requests: 60}\nserving: {async_scheduling: " +
          (async_scheduling ? "true" : "false") +
          "}\ncluster: {gpus: 2, training_gpus: 1}\ntraining: {max_itl: 20 ms, feedback: {share: " + share +
          ", "
          "delay: {fixed: 1 s}}}\npolicy: " +
          policy + "\n",
      "e.yaml"));
}

Run run(const std::string& policy, bool async_scheduling, const std::string& step_overhead,
        const std::string& share = "1") {
  Experiment e = two_h200(policy, async_scheduling, step_overhead, share);
  RunMetrics metrics(run_info(e));
  const Summary summary = metrics.summary(run_experiment(e, metrics).training);
  return {std::move(e), summary};
}

// Training is launched piece behind piece by a loop that needs no scheduler. With synchronous scheduling the host's
// time is a part of each step, and the gap between two tokens stays what it may be.
TEST(RunExperiment, TrainingPaysNoHostTime) {
  for (const bool async_scheduling : {false, true}) {
    const Summary s = run("temporal", async_scheduling, "2 ms").summary;
    EXPECT_LE(s.itl_ms->p99, 20.5) << async_scheduling;
    EXPECT_GE(s.itl_ms->p99, 15) << async_scheduling;
  }
  const Summary without = run("separate", false, "0 ms").summary, with = run("separate", false, "2 ms").summary;
  EXPECT_GT(with.train_steps, 0);
  EXPECT_EQ(with.train_step_ms, without.train_step_ms);
}

// What nothing is sent to is not pinned either.
TEST(RunExperiment, HostMemoryIsOfThoseWhoUseIt) {
  const auto pinned = [](const std::string& policy) {
    return ExperimentWorld(two_h200(policy, true, "0 ms")).config().training->store.host_capacity > Bytes();
  };
  for (const char* policy : {"temporal", "reuse", "{base: reuse, fresh: checkpoint}"}) {
    EXPECT_FALSE(pinned(policy)) << policy;
  }
  for (const char* policy : {"reuse_offload", "{base: reuse, fresh: spill}", "{base: temporal, fresh: offload}"}) {
    EXPECT_TRUE(pinned(policy)) << policy;
  }
}

// Several records are copied at once and share the link. Those that nobody read, because nobody rated
// the answer, took as much of its time as their
// bytes.
TEST(RunExperiment, WastedCopiesTakeTheLinkOnce) {
  const auto [experiment, s] = run("alchemist", true, "2 ms", "0.5");
  ASSERT_GT(s.training.hedge_wasted_bytes, Bytes());
  EXPECT_NEAR(s.training.hedge_wasted_time.in_seconds(),
              s.training.hedge_wasted_bytes.as_double() / experiment.hardware.link_d2h_bandwidth, 1e-6);
}

// What a summary is told of the links, and how much feedback came.
TEST(RunExperiment, ASummaryKnowsBothLinksAndAllFeedback) {
  Experiment e = two_h200("alchemist", true, "2 ms", "0.5");
  e.hardware.link_d2h_bandwidth = 7e9;
  EXPECT_EQ(run_info(e).link_d2h_bandwidth, 7e9);
  EXPECT_NE(run_info(e).link_h2d_bandwidth, 7e9);
  const Summary s = run_with_results(e, {}, false, nullptr, {}).summary;
  EXPECT_GE(s.feedback_samples, s.train_samples);
  EXPECT_GT(s.feedback_samples, 10);
}

// Prompts and answers of 1,100 tokens: too long for the model as it is set, or for the memory.
TEST(RunExperiment, ARefusalNamesWhatIsTooSmall) {
  const auto warning = [](const std::string& serving) {
    RunMetrics metrics({});
    const std::vector<std::string> warnings =
        run_experiment(
            read_experiment(YamlValue::parse(
                "model: llama-3.2-1b\nhardware: h200\nworkload: {arrivals: {fixed: {rate: 2}}, lengths: {fixed: "
                "{prompt: 900, output: 200}}, requests: 2}\npolicy: serve_only\nserving: " +
                    serving + "\n",
                "e.yaml")),
            metrics)
            .warnings;
    return warnings.empty() ? "" : warnings.back();
  };
  EXPECT_THAT(warning("{max_model_len: 512}"),
              HasSubstr("2 of 2 requests were refused: prompt and answer together exceed "
                        "512 tokens, the most that one request may have (max_model_len)"));
  EXPECT_THAT(warning("{kv_cache_tokens: 640}"),
              HasSubstr("exceed 624 tokens, the most that one request may have (the KV "
                        "blocks of one GPU"));
}

// Fails a check of the program's own in the middle of a run.
class FailingObserver final : public RunObserver {
 public:
  void on_serving_span(const ServingSpan&) override { check(++spans_ < 20, "all is well"); }

 private:
  int spans_ = 0;
};

// The events up to a crash tell whether a node is the cause: the last one is fed to a fresh node, too.
TEST(RunExperiment, ACrashLeavesALogThatCanBeReplayed) {
  const TemporaryFolder folder;
  const std::filesystem::path log = folder.path() / "run.log";
  const Experiment experiment = two_h200("temporal", true, "2 ms");
  FailingObserver observer;
  testing::internal::CaptureStderr();
  EXPECT_THROW(run_and_report(experiment, folder.path() / "out", false, observer, log), InternalError);
  EXPECT_NE(testing::internal::GetCapturedStderr().find(log.string()), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "out"));
  EXPECT_GT(replay_event_log(log.string()).events, 10);

  std::ifstream file(log);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string event = "0 9000000000 completion 999999 1 1 5 0";  // of no operation
  text.insert(text.rfind("failed"), event + "\n");
  const std::string failing = folder.write("failing.log", text);
  const std::string message = message_of([&] { replay_event_log(failing); });
  EXPECT_NE(message.find("a fresh node cannot have been told this"), std::string::npos) << message;
}

}  // namespace
}  // namespace alchemist

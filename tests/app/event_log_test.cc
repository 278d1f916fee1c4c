#include "sim/app/event_log.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "sim/app/yaml_reader.h"
#include "sim/base/check.h"
#include "sim/base/error.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

class EventLogTest : public ::testing::Test {
 protected:
  // What the log of `run` holds behind its head; empty if there is none.
  std::string log_of(const std::function<void(const NodeRecorder::Sink&)>& run) {
    EventLogWriter log(file_, experiment_);
    const NodeRecorder::Sink sink = log.sink();
    try {
      log.commit_after([&] { run(sink); });
    } catch (const std::exception& error) { failure_ = error.what(); }
    std::ifstream file(file_);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const std::size_t head = text.rfind("\n# ");
    return head == std::string::npos ? "" : text.substr(text.find('\n', head + 1) + 1);
  }

  TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_.path() / "out" / "events.log";
  const Experiment experiment_ = read_experiment(YamlValue::parse(
      "model: tiny\nhardware: cpu-2core\nworkload: {arrivals: {fixed: {rate: 1}}, lengths: {fixed: {prompt: 8, output: "
      "2}}, requests: 1}\npolicy: serve_only\n",
      "e.yaml"));
  std::string failure_;
};

TEST_F(EventLogTest, ACompleteRunIsMarked) {
  const std::string log = log_of([](const NodeRecorder::Sink& sink) {
    sink("0 5 wake");
    sink("0 > forget 3");
  });
  EXPECT_EQ(log, "0 5 wake\n0 > forget 3\nend 1 1\n");
}

// A check that fails is what the log is needed for most.
TEST_F(EventLogTest, ARunThatFailsLeavesItsEvents) {
  testing::internal::CaptureStderr();
  const std::string log = log_of([](const NodeRecorder::Sink& sink) {
    sink("0 5 wake");
    check(false, "all is well");
  });
  EXPECT_EQ(log, "0 5 wake\nfailed\n");
  EXPECT_NE(failure_.find("all is well"), std::string::npos);
  EXPECT_NE(testing::internal::GetCapturedStderr().find(file_.string()), std::string::npos);
}

TEST_F(EventLogTest, OneThatFailsByTheUsersMistakeLeavesNothing) {
  EXPECT_EQ(log_of([](const NodeRecorder::Sink& sink) {
              sink("0 5 wake");
              throw ConfigError("trace.csv:9: expected a number");
            }),
            "");
  EXPECT_FALSE(std::filesystem::exists(file_.parent_path()));
}

TEST_F(EventLogTest, OneThatFailsBeforeItsFirstEventLeavesNothing) {
  EXPECT_EQ(log_of([](const NodeRecorder::Sink&) { check(false, "all is well"); }), "");
  EXPECT_FALSE(std::filesystem::exists(file_.parent_path()));
}

}  // namespace
}  // namespace alchemist

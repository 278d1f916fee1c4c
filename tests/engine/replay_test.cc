// Recorded runs fed again to fresh nodes: the same commands, and every tampering is found.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "sim/base/error.h"
#include "sim/node/node_replay.h"
#include "tests/engine/support.h"

namespace alchemist::testing {
namespace {

// Requests that share prefixes in a pool that is too small for them, so that blocks are hit, preempted and taken again.
std::vector<WorkloadRequest> requests() {
  std::vector<WorkloadRequest> list;
  RandomStream random(7, "replay");
  for (int i = 0; i < 60; ++i) {
    const auto prompt = static_cast<std::int32_t>(random.uniform_int(20, 120));
    const auto output = static_cast<std::int32_t>(random.uniform_int(1, 60));
    list.push_back(make_request(Time::from_ns(i * 200'000), prompt, output, static_cast<std::uint64_t>(i % 9)));
  }
  return list;
}

class ReplayTest : public ::testing::TestWithParam<bool> {
 protected:
  ReplayTest() {
    config_ = small_config(24, 2);
    config_.routing = Routing::kPrefixAware;
    config_.serving.async_scheduling = GetParam();
    SimulationConfig recorded = config_;
    recorded.record_events = [this](std::string_view line) { lines_.emplace_back(line); };
    ListWorkload workload(requests());
    const LinearCost cost(1'000'000, 10'000, 100);
    TextObserver observer;
    Simulation(recorded, cost, workload, observer).run();
    EXPECT_GT(observer.preemptions, 0);
  }
  ~ReplayTest() override { std::filesystem::remove(path_); }

  ReplayTotals replay(const std::vector<std::string>& lines) {
    std::ofstream(path_) << [&] {
      std::string text;
      for (const std::string& line : lines) text += line + "\n";
      return text;
    }();
    LineReader log(path_);
    log.next();
    return replay_nodes(log, node_specs(config_));
  }
  // The number of the first line that contains `part`.
  std::size_t find(const std::string& part) const {
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      if (lines_[i].find(part) != std::string::npos) return i;
    }
    ADD_FAILURE() << "no line with " << part;
    return 0;
  }
  void expect_error(const std::vector<std::string>& lines, const std::string& message) {
    try {
      replay(lines);
      ADD_FAILURE() << "expected: " << message;
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
  }

  SimulationConfig config_;
  std::vector<std::string> lines_;
  std::string path_ = (std::filesystem::temp_directory_path() /
                       ("replay_test." + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + "." +
                        std::to_string(reinterpret_cast<std::uintptr_t>(this))))
                          .string();
};

TEST_P(ReplayTest, FreshNodesGiveTheSameCommands) {
  const ReplayTotals totals = replay(lines_);
  EXPECT_EQ(static_cast<std::size_t>(totals.events + totals.commands), lines_.size());
  EXPECT_GT(totals.commands, 100);
}

TEST_P(ReplayTest, AnotherCommandIsFound) {
  std::vector<std::string> lines = lines_;
  const std::size_t i = find("> serve");
  lines[i].replace(lines[i].find("serve 1"), 7, "serve 2");
  expect_error(lines, path_ + ":" + std::to_string(i + 1) +
                          ": a fresh node gives another command than this \"serve\": from character 7 on \"1 ");
}

// One word is the beginning of the other.
TEST_P(ReplayTest, TheWordThatDiffersIsTold) {
  std::vector<std::string> lines = lines_;
  lines[find("> serve")].insert(lines[find("> serve")].find("serve 1") + 7, "7");
  expect_error(lines, "from character 7 on \"1 ");
  expect_error(lines, "in place of \"17 ");
}

TEST_P(ReplayTest, AMissingCommandIsFound) {
  std::vector<std::string> lines = lines_;
  lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(find("> serve")));
  expect_error(lines, "commands what is not recorded: serve");
}

TEST_P(ReplayTest, AnAddedCommandIsFound) {
  std::vector<std::string> lines = lines_;
  lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(find("> serve") + 1), "0 > wake_at 5");
  expect_error(lines, "a fresh node does not give this command");
}

// Its commands come behind the event that a replica was told.
TEST_P(ReplayTest, ACommandOfAnotherReplicaIsFound) {
  std::vector<std::string> lines = lines_;
  const std::size_t i = find("0 > serve");
  lines[i][0] = '1';
  expect_error(lines, path_ + ":" + std::to_string(i + 1) +
                          ": expected a command of replica 0, which was told the event before it");
}

// The last event of all as if it had come at the beginning.
TEST_P(ReplayTest, EventsThatGoBackInTimeAreRefused) {
  std::vector<std::string> lines = lines_;
  std::size_t i = lines.size() - 1;
  while (lines[i].find(" > ") != std::string::npos) --i;
  const std::size_t begin = lines[i].find(' ') + 1, end = lines[i].find(' ', begin);
  lines[i].replace(begin, end - begin, "0");
  expect_error(lines, path_ + ":" + std::to_string(i + 1) + ": this replica was told of a later moment before");
}

// A prompt that is one token longer needs another chunk, if not another block.
TEST_P(ReplayTest, AnotherEventLeadsToAnotherCommand) {
  std::vector<std::string> lines = lines_;
  const std::size_t i = find("arrival 0 0 0 ");
  const std::size_t begin = lines[i].find("arrival 0 0 0 ") + 14, end = lines[i].find(' ', begin);
  lines[i].replace(begin, end - begin, std::to_string(std::stoi(lines[i].substr(begin, end - begin)) + 1));
  expect_error(lines, "a fresh node");
}

TEST_P(ReplayTest, LinesThatNoRunWritesAreRefused) {
  const auto with = [&](const std::string& line) {
    std::vector<std::string> lines = lines_;
    lines.insert(lines.begin() + 2, line);
    return lines;
  };
  expect_error({"0 > wake_at 1"}, ":1: a command before the first event");
  expect_error({"0 5"}, ":1: the line ends too early");
  expect_error({"0 x wake"}, "expected a whole number, got \"x\"");
  expect_error({"7 5 wake"}, "expected a replica below 2");
  expect_error({"0 5 sleep"}, "unknown event \"sleep\"");
  expect_error({"0 5 wake now"}, "unexpected \"now\" at the end");
  expect_error({"0 5 arrival 9 0 0 5 0 0 0 0 -"}, "expected a handle of at most 0");
  expect_error({"0 5 completion 0 1 1 5 1 3"}, "this handle is no live request's");
  expect_error({"0 5 completion 0 1 1 5 0"}, "a fresh node cannot have been told this");
  expect_error(with("0 5 completion 0 1 1 5 1 3"), "this handle is no live request's");
}

INSTANTIATE_TEST_SUITE_P(Scheduling, ReplayTest, ::testing::Bool());

}  // namespace
}  // namespace alchemist::testing

// What a search finds among runs whose results are made up.
#include "sim/sweep/sweep_search.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <iterator>
#include <map>

#include "sim/app/interruption.h"
#include "sim/sweep/executor.h"
#include "sim/sweep/live_view.h"
#include "sim/sweep/sweep_directory.h"
#include "sim/sweep/sweep_run.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

using Results = std::map<std::string, double>;                         // by key of summary.json; none: the run fails
using ResultsOf = std::function<Results(double value, std::int64_t)>;  // of the last key that is varied, and a seed

class MadeUp final : public Executor {
 public:
  MadeUp(std::string key, ResultsOf run) : key_(std::move(key)), run_(std::move(run)) {}
  void run(const std::vector<RunTask>& tasks, SweepListener& listener) override {
    for (const RunTask& task : tasks) {
      double value = 0;
      for (const YamlOverride& o : task.overrides) {
        if (o.key_path == key_) value = std::stod(o.text);
      }
      RunOutcome outcome{.point = task.point, .seed = task.seed, .config = "x: 1"};
      const Results results = run_(value, task.seed);
      outcome.status = results.empty() ? RunStatus::kFailed : RunStatus::kOk;
      for (const auto& [key, number] : results) {
        outcome.summary += fmt::format("{}\"{}\": {}", outcome.summary.empty() ? "{" : ", ", key, number);
      }
      outcome.summary += results.empty() ? "" : "}";
      listener.on_outcome(outcome);
    }
  }

 private:
  std::string key_;
  ResultsOf run_;
};

class SweepSearch : public testing::Test {
 protected:
  // `key`: what the results depend on.
  std::vector<SearchRound> search(const std::string& key, const std::string& text, const ResultsOf& run) {
    const SweepSpec spec = load_sweep(folder_.write(
        "s.yaml",
        "base: {model: tiny, hardware: cpu-2core, workload: {arrivals: {poisson: {rate: 4}}, lengths: {fixed: {prompt: "
        "100, output: 10}}, requests: 50}}\n" +
            text));
    const std::filesystem::path out = folder_.path() / fmt::format("out{}", ++searches_);
    SweepDirectory directory(out, "x: 1", false);
    MadeUp executor(key, run);
    LiveView view;
    Interruption interruption;
    SweepRun sweep(spec, {directory, executor, view, interruption});
    std::vector<SearchRound> rounds = run_search(sweep);
    write_search(out, sweep, rounds);
    std::ifstream in(out / "search.csv");
    table_ = {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    return rounds;
  }
  static std::vector<std::size_t> order(const SearchRound& round) {
    std::vector<std::size_t> candidates;
    for (const RankedCandidate& r : round.ranking) candidates.push_back(r.candidate);
    return candidates;
  }

  TemporaryFolder folder_;
  int searches_ = 0;
  std::string table_;
};

constexpr const char* kSeqs = "serving.max_num_seqs";
using Order = std::vector<std::size_t>;

TEST_F(SweepSearch, TheHighestOrTheLowest) {
  const auto run = [](double seqs, std::int64_t) { return Results{{"p99_ttft_ms", 10 * seqs}}; };
  const std::string grid = "grid: {serving.max_num_seqs: [2, 3, 1]}\n";
  EXPECT_EQ(order(search(kSeqs, grid + "maximise: p99_ttft_ms\n", run)[0]), (Order{1, 0, 2}));
  const auto rounds = search(kSeqs, grid + "minimise: p99_ttft_ms\n", run);
  EXPECT_EQ(order(rounds[0]), (Order{2, 0, 1}));
  EXPECT_EQ(rounds[0].ranking[0].score, 10);
  EXPECT_EQ(table_.substr(table_.find('\n') + 1),
            "1,1,2,1,1,true,10,true\n1,2,0,2,1,true,20,false\n1,3,1,3,1,true,30,false\n");
}

// Three candidates and three seeds: half of them, rounded up, go on from two seeds, rounded up, to all three. With one
// seed there is one round.
TEST_F(SweepSearch, TheBetterHalfGoesOnToMoreSeeds) {
  const auto run = [](double seqs, std::int64_t) { return Results{{"completed", seqs}}; };
  const std::string text = "grid: {serving.max_num_seqs: [1, 2, 3]}\nmaximise: completed\nseeds: ";
  const auto rounds = search(kSeqs, text + "[1, 2, 3]\n", run);
  ASSERT_EQ(rounds.size(), 2u);
  EXPECT_EQ(rounds[0].seeds, 2u);
  EXPECT_EQ(rounds[1].seeds, 3u);
  EXPECT_EQ(order(rounds[1]), (Order{2, 1}));
  EXPECT_FALSE(rounds[0].ranking[2].kept);
  EXPECT_FALSE(rounds[1].ranking[1].kept);
  EXPECT_EQ(search(kSeqs, text + "[1]\n", run).size(), 1u);
}

// A bound of 1,000 missed by 100 is missed by less than one of 10 that is missed by 5.
TEST_F(SweepSearch, BoundsAreMissedByShares) {
  const auto rounds =
      search(kSeqs,
             "grid: {serving.max_num_seqs: [1, 2]}\nmaximise: completed\nsubject_to: {p99_ttft_ms: \"<= "
             "1000\", p99_itl_ms: \"<= 10\"}\n",
             [](double seqs, std::int64_t) {
               return seqs == 1 ? Results{{"p99_ttft_ms", 10}, {"p99_itl_ms", 15}, {"completed", 9}}
                                : Results{{"p99_ttft_ms", 1100}, {"p99_itl_ms", 1}, {"completed", 1}};
             });
  EXPECT_EQ(order(rounds[0]), (Order{1, 0}));
  EXPECT_DOUBLE_EQ(rounds[0].ranking[0].excess, 0.1);
  EXPECT_DOUBLE_EQ(rounds[0].ranking[1].excess, 0.5);
  EXPECT_FALSE(rounds[0].ranking[0].feasible);
}

// The best of all failed with one seed, and the next has no such number.
TEST_F(SweepSearch, WhatFailedOrHasNoScoreIsNoAnswer) {
  const auto rounds = search(kSeqs, "grid: {serving.max_num_seqs: [3, 2, 1]}\nmaximise: train_step_ms\nseeds: [1, 2]\n",
                             [](double seqs, std::int64_t seed) {
                               if (seqs == 3 && seed == 2) return Results{};
                               return seqs == 2 ? Results{{"completed", 1}} : Results{{"train_step_ms", seqs}};
                             });
  const SearchRound& last = rounds.back();
  EXPECT_EQ(last.ranking.front().candidate, 2u);
  EXPECT_TRUE(last.ranking.front().feasible);
  for (const RankedCandidate& r : rounds.front().ranking) {
    if (r.candidate == 1) { EXPECT_FALSE(r.feasible); }
  }
  const auto failed = search(kSeqs, "grid: {serving.max_num_seqs: [3, 1]}\nmaximise: completed\nseeds: [1, 2]\n",
                             [](double seqs, std::int64_t seed) {
                               return seqs == 3 && seed == 2 ? Results{} : Results{{"completed", seqs}};
                             });
  EXPECT_EQ(order(failed.back()), (Order{1, 0}));
  EXPECT_TRUE(std::isinf(failed.back().ranking.back().excess));
}

// Waits of 200 ms for each request a second: of 1, 8, 4.5, 6.25 and 5.375 a second the largest within 1,000 ms. The
// lowest rate that is served with a throughput of 3: of 8, 1, 4.5, 2.75 and 3.625.
TEST_F(SweepSearch, TheLargestOrSmallestValueThatKeepsTheBounds) {
  const std::string range = "search: {workload.rate: {low: 1, high: 8, tolerance: 0.9}}\n";
  const auto run = [](double rate, std::int64_t) {
    return Results{{"p99_ttft_ms", 200 * rate}, {"request_throughput", rate}};
  };
  const auto most =
      search("workload.rate", range + "maximise: workload.rate\nsubject_to: {p99_ttft_ms: \"<= 1000\"}\n", run);
  EXPECT_EQ(most.back().ranking.front().score, 4.5);
  const auto least =
      search("workload.rate", range + "minimise: workload.rate\nsubject_to: {request_throughput: \">= 3\"}\n", run);
  EXPECT_EQ(least.back().ranking.front().score, 3.625);
  // None keeps them: told is the end at which they are kept most easily.
  const auto none =
      search("workload.rate", range + "maximise: workload.rate\nsubject_to: {p99_ttft_ms: \"<= 100\"}\n", run);
  EXPECT_FALSE(none.back().ranking.front().feasible);
  EXPECT_DOUBLE_EQ(none.back().ranking.front().excess, 1);
}

}  // namespace
}  // namespace alchemist

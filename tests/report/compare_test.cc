#include "sim/report/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "sim/base/error.h"
#include "tests/report/fixtures.h"
#include "tests/shared_data.h"

namespace alchemist {
namespace {

constexpr const char* kHeader = "request,input_length,output_length,queued_s,scheduled_s,first_token_s,last_token_s\n";

RunTimes read(const std::string& text) {
  const TemporaryDirectory temporary("measured");
  const std::filesystem::path path = temporary.path() / "run.csv";
  std::ofstream(path) << text;
  return {read_measured_requests(path.string()), {}};
}

// Measured: TTFT 1000 and 2000 ms, TPOT 100 and 0 ms, E2E 2000 and 2000 ms. Simulated: TTFT 1100 and 2200, TPOT the
// same, E2E 2100 and 2200.
//   mean TTFT 1500 -> 1650: +10 %, and every percentile of TTFT is +10 % as well;
//   TPOT: 0 %; E2E: mean 2150, P50 2150, P90 2190, P95 2195, P99 2199 against 2000.
TEST(CompareRuns, HandMadeNumbers) {
  const auto measured = read(std::string(kHeader) + "0,5,11,1.0,1.5,2.0,3.0\n1,6,1,2.0,3.0,4.0,4.0\n");
  RunTimes simulated = measured;
  simulated.requests[0].first_token_s = 2.1;
  simulated.requests[0].last_token_s = 3.1;
  simulated.requests[1].first_token_s = simulated.requests[1].last_token_s = 4.2;
  const Comparison c = compare_runs(measured, simulated);
  const std::vector<double> expected{0.1, 0.1, 0.1, 0.1, 0.1, 0, 0, 0, 0, 0, 0.075, 0.075, 0.095, 0.0975, 0.0995};
  ASSERT_EQ(c.rows.size(), 15u);
  double sum = 0;
  for (std::size_t i = 0; i < 15; ++i) {
    EXPECT_NEAR(*c.rows[i].error, expected[i], 1e-9) << c.rows[i].metric << " " << c.rows[i].statistic;
    sum += expected[i];
  }
  EXPECT_EQ(c.rows[4].metric + c.rows[4].statistic, "ttftp99");
  EXPECT_NEAR(c.rows[12].measured_ms, 2000, 1e-9);
  EXPECT_NEAR(c.rows[12].simulated_ms, 2190, 1e-9);
  EXPECT_NEAR(c.mean_absolute_error, sum / 15, 1e-9);
  EXPECT_NEAR(c.largest_absolute_error, 0.1, 1e-9);

  const auto json = nlohmann::json::parse(comparison_json(c));
  EXPECT_EQ(json["requests"], 2);
  EXPECT_EQ(json["metrics"].size(), 15u);
  EXPECT_NE(comparison_table(c).find("E2E  p90             2000.00         2190.00   +9.50 %"), std::string::npos)
      << comparison_table(c);
  EXPECT_EQ(comparison_csv(c).substr(0, 51), "metric,statistic,measured_ms,simulated_ms,error\nttf");
}

// A simulated run that is too fast has a negative error; one whose measured value is 0 has none.
TEST(CompareRuns, ErrorsAreSignedAndUndefinedAtZero) {
  const auto measured = read(std::string(kHeader) + "0,5,1,0,0,1,1\n");
  RunTimes simulated = measured;
  simulated.requests[0].first_token_s = simulated.requests[0].last_token_s = 0.5;
  const Comparison c = compare_runs(measured, simulated);
  EXPECT_DOUBLE_EQ(*c.rows[0].error, -0.5);
  EXPECT_FALSE(c.rows[5].error.has_value()) << "TPOT of one token is 0";
  EXPECT_DOUBLE_EQ(c.mean_absolute_error, 0.5);
  EXPECT_DOUBLE_EQ(c.largest_absolute_error, 0.5);
  EXPECT_TRUE(nlohmann::json::parse(comparison_json(c))["metrics"][5]["error"].is_null());
}

TEST(CompareRuns, RefusesDifferentWorkloads) {
  const auto measured = read(std::string(kHeader) + "0,5,1,0,0,1,1\n");
  RunTimes other = measured;
  other.requests[0].output_tokens = 2;
  EXPECT_THROW(compare_runs(measured, other), ConfigError);
  EXPECT_THROW(compare_runs(measured, {}), ConfigError);
}

// Three requests with TTFT 1, 1 and 2 ms: two thirds took at most 1 ms.
TEST(CompareRuns, DistributionIsAStepFunction) {
  const auto run = read(std::string(kHeader) + "0,5,1,0,0,0.001,0.001\n1,5,1,0,0,0.002,0.002\n2,5,1,0,0,0.001,0.001\n");
  const std::string csv = distribution_csv(run, run);
  EXPECT_EQ(csv.substr(0, csv.find("ttft,simulated")),
            "metric,run,value_ms,fraction\nttft,measured,1.000000,0.6666666666666666\nttft,measured,2.000000,1\n");
}

// All three files, or none where the runs cannot be compared.
TEST(CompareRuns, WritesItsFilesTogether) {
  const TemporaryDirectory temporary("comparison");
  const auto run = read(std::string(kHeader) + "0,5,1,0,0,1,1\n");
  EXPECT_THROW(write_comparison(temporary.path() / "none", run, {}), ConfigError);
  EXPECT_FALSE(std::filesystem::exists(temporary.path() / "none"));
  const std::filesystem::path out = temporary.path() / "out";
  const Comparison c = write_comparison(out, run, run);
  EXPECT_EQ(read_text(out / "comparison.json"), comparison_json(c));
  EXPECT_EQ(read_text(out / "comparison.csv"), comparison_csv(c));
  EXPECT_EQ(read_text(out / "distribution.csv"), distribution_csv(run, run));
}

// Of gaps, not of requests: where both runs know theirs. Mean 20 against 25 ms: +25 %; median 10 against 15: +50 %.
TEST(CompareRuns, GapsBetweenTokens) {
  RunTimes measured = read(std::string(kHeader) + "0,5,4,0,0,1,2\n");
  RunTimes simulated = measured;
  simulated.gaps_ms = {15, 45, 15};
  EXPECT_EQ(compare_runs(measured, simulated).rows.size(), 15u);
  EXPECT_EQ(distribution_csv(measured, simulated).find("itl"), std::string::npos);
  measured.gaps_ms = {10, 10, 40};
  const Comparison c = compare_runs(measured, simulated);
  ASSERT_EQ(c.rows.size(), 20u);
  EXPECT_EQ(c.rows[10].metric + c.rows[10].statistic, "itlmean");
  EXPECT_NEAR(*c.rows[10].error, 0.25, 1e-9);
  EXPECT_NEAR(*c.rows[11].error, 0.5, 1e-9);
  EXPECT_EQ(c.rows[15].metric, "e2el");
  EXPECT_THAT(
      distribution_csv(measured, simulated),
      testing::HasSubstr("itl,measured,10.000000,0.6666666666666666\nitl,measured,40.000000,1\nitl,simulated,15"));
}

// Of 10,000 gaps every tenth, but a step that many take at once, and the largest.
TEST(CompareRuns, DistributionOfManyValuesIsThinnedOut) {
  RunTimes run = read(std::string(kHeader) + "0,5,4,0,0,1,2\n");
  for (int i = 0; i < 9'985; ++i) run.gaps_ms.push_back(1 + i * 1e-3);
  run.gaps_ms.insert(run.gaps_ms.end(), 15, 0.5);
  const std::string csv = distribution_csv(run, run);
  EXPECT_THAT(csv, testing::HasSubstr("itl,measured,0.500000,0.0015\nitl,measured,1.009000,0.0025\n"));
  EXPECT_THAT(csv, testing::HasSubstr("itl,measured,10.984000,1\n"));
  EXPECT_NEAR(static_cast<double>(std::ranges::count(csv, '\n')), 2 * 1000, 20);
}

TEST(RequestTimesRecorder, GivesRequestsInOrderOfNumber) {
  RequestTimesRecorder recorder;
  RequestOutcome second = outcome(1, 480, 30, 120, 10, 3);
  second.queued = at_ms(500);  // the engine took it in 20 ms after its arrival: counted from here
  recorder.on_request_outcome(second);
  recorder.on_request_outcome(outcome(0, 0, 10, 100, 10, 3));
  recorder.on_token_gap(at_ms(600), Duration::milliseconds(10), 2);
  recorder.on_token_gap(at_ms(610), Duration::milliseconds(12), 1);
  const RunTimes taken = recorder.take();
  EXPECT_THAT(taken.gaps_ms, testing::ElementsAre(10, 10, 12));
  const std::vector<RequestTimes>& runs = taken.requests;
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].request, 0);
  EXPECT_DOUBLE_EQ(runs[1].arrived_s, 0.5);
  EXPECT_NEAR(runs[1].ttft_ms(), 100, 1e-9);
  EXPECT_NEAR(runs[1].tpot_ms(), 10, 1e-9);
  EXPECT_NEAR(runs[1].e2el_ms(), 120, 1e-9);
}

TEST(MeasuredRun, ColumnsMayComeInAnyOrder) {
  const auto run = read(
      "note,last_token_s,first_token_s,scheduled_s,queued_s,output_length,input_length,request\r\n"
      "x,4,3,2,1,8,7,1\r\ny,4,3,2,0,8,7,0\r\n");
  ASSERT_EQ(run.requests.size(), 2u);
  EXPECT_EQ(run.requests[0].arrived_s, 0);
  EXPECT_EQ(run.requests[1].input_tokens, 7);
  EXPECT_EQ(run.requests[1].last_token_s, 4);
}

// Each broken file names its line and what was expected.
TEST(MeasuredRun, BrokenFilesAreNamed) {
  const struct {
    std::string text, expected;
  } cases[] = {
      {"", "run.csv: is empty"},
      {kHeader, "run.csv: holds no request"},
      {"request,input_length\n0,1\n", "run.csv:1: expected a column \"output_length\""},
      {std::string(kHeader) + "0,5,1,0,0,1\n", "run.csv:2: expected 7 fields as in the header, got 6"},
      {std::string(kHeader) + "0,5,1,0,0,1,1\n1,x,1,0,0,1,1\n", "run.csv:3: column \"input_length\": expected a whole"},
      {std::string(kHeader) + "0,5,0,0,0,1,1\n", "run.csv:2: expected at least one token"},
      {std::string(kHeader) + "0,5,1,0,0,nan,1\n",
       "run.csv:2: column \"first_token_s\": expected a number, got \"nan\""},
      {std::string(kHeader) + "0,5,1,0,2,1,3\n", "run.csv:2: expected queued_s <= scheduled_s"},
      {std::string(kHeader) + "0,5,1,0,0,3,2\n", "run.csv:2: expected queued_s <= scheduled_s"},
      {std::string(kHeader) + "0,5,1,0,0,1,1\n0,5,1,0,0,1,1\n", "request 0 is there twice"},
      {std::string(kHeader) + "0,5,1,0,0,1,1\n2,5,1,0,0,1,1\n", "request 1 is missing"},
  };
  for (const auto& c : cases) {
    try {
      read(c.text);
      FAIL() << "no error for " << c.text;
    } catch (const ConfigError& e) { EXPECT_NE(std::string(e.what()).find(c.expected), std::string::npos) << e.what(); }
  }
  EXPECT_THROW(read_measured_requests("/nowhere/run.csv"), ConfigError);
}

// The published statistics of the vLLM run, printed with one decimal, are those of queued_s with our percentile rule.
TEST(MeasuredRun, ReproducesThePublishedStatisticsOfARealRun) {
  const auto path = shared_data() / "vllm_rtx4090_llama31_8b" / "measured_requests.csv";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is missing";
  const RunTimes run{read_measured_requests(path.string()), {}};
  const Comparison c = compare_runs(run, run);
  const std::vector<double> published{65456.6, 60110.9, 121121.7, 122739.2, 137356.3, 32.4,     30.8,    38.1,
                                      48.1,    56.0,    86578.3,  83413.3,  141600.9, 148977.6, 153627.5};
  for (std::size_t i = 0; i < 15; ++i) {
    EXPECT_NEAR(c.rows[i].measured_ms, published[i], 0.05 + 1e-3) << c.rows[i].metric << " " << c.rows[i].statistic;
  }
  EXPECT_EQ(c.largest_absolute_error, 0);
}

}  // namespace
}  // namespace alchemist

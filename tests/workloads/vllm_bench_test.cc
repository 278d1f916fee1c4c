// Runs that `vllm bench serve` measured, as traces and as measurements.
#include "workloads/vllm_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/base/error.h"
#include "tests/workloads/support.h"
#include "workloads/trace.h"

namespace alchemist {
namespace {

using ::testing::HasSubstr;

// Sent in another order than that of the file; the second one failed. What else the file says is of no interest.
constexpr const char* kRun =
    "{\"date\": \"20261201-164700\", \"backend\": \"vllm\", \"num_prompts\": 3, \"request_rate\": \"inf\", "
    "\"duration\": "
    "3.5, \"total_input_tokens\": 30, \"input_lens\": [10, 12, 20], \"output_lens\": [3, 0, 1], \"start_times\": "
    "[1001.5, "
    "1001.25, 1000.25], \"ttfts\": [0.5, 0.0, 0.75], \"itls\": [[0.25, 0.125], [], []], \"generated_texts\": [\"a, "
    "b]\", "
    "\"\", \"{\"], \"errors\": [\"\", \"Connection reset\", \"\"]}\n";

std::string with(const std::string& text, const std::string& in_place_of) {
  std::string run = kRun;
  const std::size_t at = run.find(in_place_of);
  EXPECT_NE(at, std::string::npos) << in_place_of;
  return run.replace(at, in_place_of.size(), text);
}

TEST(VllmBench, RequestsAsMeasured) {
  const TextFile file("bench.json", kRun);
  EXPECT_TRUE(begins_with_object(file.path()));
  const std::vector<BenchRequest> requests = read_bench_requests(file.path());
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0].input_tokens, 10);
  EXPECT_EQ(requests[0].output_tokens, 3);
  EXPECT_EQ(requests[0].start_s, 1001.5);
  EXPECT_EQ(requests[0].ttft_s, 0.5);
  EXPECT_THAT(requests[0].gaps_s, testing::ElementsAre(0.25, 0.125));
  EXPECT_FALSE(requests[0].failed());
  EXPECT_TRUE(requests[1].failed());
  EXPECT_THAT(requests[2].gaps_s, testing::IsEmpty());
}

TEST(VllmBench, AsATraceInTheOrderOfSending) {
  const TextFile file("bench.json", kRun);
  const Trace trace = read_trace(trace_of(file.path()));
  EXPECT_EQ(trace.format, TraceFormat::vllm_bench);
  EXPECT_TRUE(trace.has_arrivals);
  EXPECT_EQ(trace.skipped_rows, 1);
  ASSERT_EQ(trace.rows.size(), 2u);
  EXPECT_EQ(trace.rows[0].prompt_tokens, 20);
  EXPECT_EQ(trace.rows[0].output_tokens, 1);
  EXPECT_EQ(trace.rows[0].arrival, Duration());
  EXPECT_EQ(trace.rows[1].prompt_tokens, 10);
  EXPECT_EQ(trace.rows[1].arrival, Duration::milliseconds(1250));
  EXPECT_TRUE(trace.chain_ids.empty());
}

TEST(VllmBench, WithoutStartTimesGivesLengths) {
  const TextFile file("bench.json", with("", "\"start_times\": [1001.5, 1001.25, 1000.25], "));
  EXPECT_FALSE(read_bench_requests(file.path())[0].start_s);
  const Trace trace = read_trace(trace_of(file.path()));
  EXPECT_FALSE(trace.has_arrivals);
  ASSERT_EQ(trace.rows.size(), 2u);
  EXPECT_EQ(trace.rows[0].prompt_tokens, 10);
}

TEST(VllmBench, SaysWhatItCannotRead) {
  const auto complaint = [](const std::string& text) {
    const TextFile file("bench.json", text);
    try {
      read_trace(trace_of(file.path()));
    } catch (const ConfigError& error) { return std::string(error.what()); }
    return std::string("nothing");
  };
  EXPECT_THAT(complaint(with("[10, 12]", "[10, 12, 20]")), HasSubstr(":1: key \"output_lens\": expected 2 entries"));
  EXPECT_THAT(complaint(with("[0.5, 0.0]", "[0.5, 0.0, 0.75]")), HasSubstr("key \"ttfts\": expected 3 entries"));
  EXPECT_THAT(complaint(with("[1001.5]", "[1001.5, 1001.25, 1000.25]")), HasSubstr("key \"start_times\": expected 3"));
  EXPECT_THAT(complaint(with("[[]]", "[[0.25, 0.125], [], []]")), HasSubstr("key \"itls\": expected 3 entries"));
  EXPECT_THAT(complaint(with("-0.5", "0.5")), HasSubstr("key \"ttfts\": expected times of 0 or more, got -0.5"));
  EXPECT_THAT(complaint(with("-0.125", "0.125")), HasSubstr("key \"itls\": expected times of 0 or more, got -0.125"));
  EXPECT_THAT(complaint(with("[0.25, \"x\"]", "[0.25, 0.125]")),
              HasSubstr("key \"itls\": expected an array of arrays"));
  EXPECT_THAT(complaint(with("[3, 0.5, 1]", "[3, 0, 1]")),
              HasSubstr("key \"output_lens\": expected an array of whole"));
  EXPECT_THAT(complaint(with("1e30", "1001.5")), HasSubstr("key \"start_times\": expected times within 200 years"));
  EXPECT_THAT(complaint(std::string(kRun) + kRun), HasSubstr(":2: goes on behind the run"));
  EXPECT_THAT(complaint("{\"duration\": 3.5, \"total_input_tokens\": 30}\n"), HasSubstr("with --save-detailed"));
  EXPECT_THAT(complaint(with("[0, 0, 0]", "[3, 0, 1]")), HasSubstr("every request has no prompt or no output tokens"));
}

}  // namespace
}  // namespace alchemist

#include <gmock/gmock.h>

#include "sim/base/check.h"
#include "tests/shared_data.h"
#include "tests/workloads/support.h"
#include "workloads/arrivals.h"

namespace alchemist {
namespace {

using testing::HasSubstr;

// The message for a broken file, which must begin with FILE:LINE:.
void expect_error(const std::string& name, const std::string& text, int line, const std::string& message,
                  TraceFormat format = TraceFormat::automatic) {
  const TextFile file(name, text);
  TraceSpec spec = trace_of(file.path());
  spec.format = format;
  spec.characters_per_token = 4;
  const std::string error = error_of(spec);
  EXPECT_THAT(error, testing::StartsWith(file.path() + (line > 0 ? ":" + std::to_string(line) : "") + ": ")) << error;
  EXPECT_THAT(error, HasSubstr(message));
}

TEST(Vidur, CountsFromTheFirstArrivalSortsAndSkipsEmptyRequests) {
  const Trace trace =
      read_text("v.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n3.5,20,2\n2.5,10,1\n4,0,7\n");
  EXPECT_EQ(trace.format, TraceFormat::vidur);
  ASSERT_EQ(trace.rows.size(), 2U);
  EXPECT_EQ(trace.skipped_rows, 1);
  EXPECT_EQ(trace.rows[0].prompt_tokens, 10);
  EXPECT_EQ(trace.rows[0].arrival, Duration());
  EXPECT_EQ(trace.rows[1].arrival, Duration::seconds(1));
}

// 25 tokens cannot hold 30 of history, although they are more than the 10 of the prompt before; 30 leave the user
// nothing to say; 31 do.
TEST(Vidur, APromptNoLongerThanTheHistoryIsAnotherContent) {
  for (const auto& [tokens, goes_on] : {std::pair(25, false), {30, false}, {31, true}}) {
    const Trace trace = read_text("v.csv",
                                  "arrived_at,num_prefill_tokens,num_decode_tokens,session_id\n"
                                  "0,10,20,a\n1," +
                                      std::to_string(tokens) + ",5,a\n");
    ASSERT_EQ(trace.rows.size(), 2U);
    EXPECT_EQ(trace.rows[0].content == trace.rows[1].content, goes_on) << tokens;
    for (const auto& turns : conversations_of(trace)) {
      for (const Turn& turn : turns) EXPECT_GE(turn.new_tokens, 1) << tokens;
    }
  }
}

TEST(Vidur, SessionsShareTheirHistoryAsLongAsThePromptHoldsIt) {
  const Trace trace = read_text("v.csv",
                                "arrived_at,num_prefill_tokens,num_decode_tokens,session_id\n"
                                "0,10,5,a\n1,20,5,a\n2,12,5,a\n3,8,1,b\n");
  EXPECT_EQ(trace.rows[0].content, trace.rows[1].content);  // 20 > 15
  EXPECT_NE(trace.rows[1].content, trace.rows[2].content);  // 12 cannot hold 25
  EXPECT_EQ(trace.rows[2].session, trace.rows[0].session);
  EXPECT_EQ(trace.rows[2].turn, 2);
  EXPECT_NE(trace.rows[3].session, trace.rows[0].session);
  const auto conversations = conversations_of(trace);
  ASSERT_EQ(conversations.size(), 3U);
  EXPECT_EQ(conversations[0][1].new_tokens, 5);  // 20 - 10 - 5
}

// As the results of a run, which list requests by their end.
TEST(Vidur, TurnsAreNumberedByArrival) {
  const Trace trace = read_text("v.csv",
                                "arrived_s,num_prefill_tokens,num_decode_tokens,session_id\n"
                                "10,40,10,a\n5,20,6,a\n5,30,2,b\n");
  ASSERT_EQ(trace.rows.size(), 3U);
  EXPECT_EQ(trace.rows[0].prompt_tokens, 20);
  EXPECT_EQ(trace.rows[0].turn, 0);
  EXPECT_EQ(trace.rows[2].turn, 1);
  EXPECT_EQ(trace.rows[2].content, trace.rows[0].content) << "it holds the turn before";
  const auto conversations = conversations_of(trace);
  ASSERT_EQ(conversations.size(), 2U);
  EXPECT_EQ(conversations[0][1].new_tokens, 40 - 20 - 6);
}

// Of what arrives together, as all of a file without arrival times does. Others stay where they are.
TEST(Vidur, TurnsOfOneMomentGoByTheirNumbers) {
  const std::string turns = ",80,5,1,2\n,9,9,,0\n,40,5,1,1\n,10,5,1,0\n,7,7,2,0\n";
  const std::string columns = "num_prefill_tokens,num_decode_tokens,conversation,turn\n";
  std::string arriving = "arrived_at," + columns;
  std::string lengths = columns;
  for (std::size_t begin = 0; begin < turns.size(); begin = turns.find('\n', begin) + 1) {
    const std::string rest = turns.substr(begin, turns.find('\n', begin) - begin);
    arriving += "3" + rest + "\n";
    lengths += rest.substr(1) + "\n";
  }
  for (const std::string& text : {arriving, lengths}) {
    const Trace trace = read_text("v.csv", text);
    std::vector<std::int32_t> prompts;
    for (const TraceRow& row : trace.rows) prompts.push_back(row.prompt_tokens);
    EXPECT_THAT(prompts, testing::ElementsAre(10, 9, 40, 80, 7));
    EXPECT_EQ(trace.rows[3].turn, 2);
    EXPECT_EQ(conversations_of(trace)[0].size(), 3U);
    EXPECT_EQ(trace.late_turns, 0);
  }
  const Trace late = read_text("v.csv", "arrived_at," + columns + "0,80,5,1,1\n1,40,5,1,0\n2,9,9,1,1\n");
  EXPECT_EQ(late.late_turns, 1);
  EXPECT_EQ(late.first_late_line, 3);
}

// The first three come at 1, 2 and 3 s: at 4 a second they come within half a second.
TEST(Vidur, TheRateIsOfTheRequestsThatAreReplayed) {
  const TextFile file("v.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n90,1,1\n1,1,1\n2,1,1\n3,1,1\n");
  TraceSpec spec = trace_of(file.path());
  spec.rate = 4;
  const Trace trace = read_trace(spec, RateOf::requests, 3);
  ASSERT_EQ(trace.rows.size(), 3U);
  EXPECT_EQ(trace.rows[2].arrival, Duration::milliseconds(500));
  WorkloadSpec workload;
  workload.source = spec;
  workload.requests = 3;
  for (const auto& source : {workload.source, generated(TraceArrivals{spec}, fixed_lengths(1, 1), 3).source}) {
    workload.source = source;
    EXPECT_EQ(requests_of(workload).back().arrival, Time() + Duration::milliseconds(500));
  }
}

TEST(Vidur, RateScaling) {
  const TextFile file("v.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,1\n4,1,1\n8,1,1\n");
  TraceSpec spec = trace_of(file.path());
  spec.rate_scale = 2;
  EXPECT_EQ(read_trace(spec).rows[2].arrival, Duration::seconds(4));
  spec.rate_scale = 1;
  spec.rate = 0.5;  // two gaps in 4 s
  EXPECT_EQ(read_trace(spec).rows[2].arrival, Duration::seconds(4));
}

TEST(Vidur, QuotedFieldsMayHoldLineBreaks) {
  const Trace trace = read_text("v.csv",
                                "arrived_at,\"a\n\ntext\",num_prefill_tokens,num_decode_tokens\r\n"
                                "0,\"two\r\nlines, \"\"quoted\"\"\",10,5\r\n1,5\" wide,20,\"6\"\r\n");
  ASSERT_EQ(trace.rows.size(), 2U);
  EXPECT_EQ(trace.rows[0].prompt_tokens, 10);
  EXPECT_EQ(trace.rows[1].output_tokens, 6);
}

TEST(Vidur, BrokenLines) {
  const std::string header = "arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,1\n";
  expect_error("v.csv", header + "1,x,1\n", 3, "column \"num_prefill_tokens\": expected a whole number of tokens");
  expect_error("v.csv", header + "1,-5,1\n", 3, "got \"-5\"");
  expect_error("v.csv", header + "1,2.5,1\n", 3, "got \"2.5\"");
  expect_error("v.csv", header + "\n1,1\n", 4, "expected 3 fields");
  expect_error("v.csv", header + "nan,1,1\n", 3, "expected a number");
  expect_error("v.csv", header + "1e300,1,1\n", 3, "column \"arrived_at\": expected a time within 200 years");
  expect_error("v.csv", header + "+-1,1,1\n", 3, "expected a number");
  expect_error("v.csv", header + "1,1,\"1\n2,1,1\n", 3, "expected a quote");
  expect_error("v.csv", "arrived_at,num_prefill_tokens,num_decode_tokens,text\n0,1,1,\"a\n\nb\"\n2,1\n", 5,
               "expected 4 fields");
  expect_error("v.csv", header + "1,1,\"1\n2\"\n", 3, "column \"num_decode_tokens\": expected a whole number");
  expect_error("v.csv", "arrived_at,num_prefill_tokens\n0,1\n", 1, "expected a column \"num_decode_tokens\"");
  expect_error("v.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n", 0, "has no requests");
  expect_error("v.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0,0,0\n", 0, "nothing to serve");
  expect_error("v.csv", "", 0, "is empty");
  expect_error("v.csv", "hello,world\n", 1, "expected a trace");
  EXPECT_THAT(error_of(trace_of("/nowhere/x.csv")), HasSubstr("/nowhere/x.csv: no such file"));
}

TEST(Traces, NamesThatStandTwice) {
  expect_error("v.csv", "arrived_at,num_prefill_tokens,num_decode_tokens,num_prefill_tokens\n0,1,1,2\n", 1, "twice");
  expect_error("m.jsonl", "{\"timestamp\": 0, \"input_length\": 9, \"output_length\": 1, \"input_length\": 8}\n", 1,
               "\"input_length\" twice");
}

TEST(Azure, TimestampsToTheTickAcrossMidnight) {
  const Trace trace = read_text("a.csv",
                                "TIMESTAMP,ContextTokens,GeneratedTokens\n"
                                "2023-12-31 23:59:59.5000000,374,44\n2024-01-01 00:00:01.0000001,396,109\n");
  ASSERT_EQ(trace.rows.size(), 2U);
  EXPECT_EQ(trace.rows[1].arrival.count_ns(), 1'500'000'100);
  EXPECT_EQ(trace.rows[1].output_tokens, 109);
}

TEST(Azure, BrokenLines) {
  const std::string header = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  expect_error("a.csv", header + "2023-13-16 18:15:46,1,1\n", 2, "column \"TIMESTAMP\": expected YYYY-MM-DD");
  expect_error("a.csv", header + "12.5,1,1\n", 2, "got \"12.5\"");
  expect_error("a.csv", header + "2023-11-16 18:15:61,1,1\n", 2, "got \"2023-11-16 18:15:61\"");
  expect_error("a.csv", header + "2023-11-16 18:15:46,1,\n", 2, "GeneratedTokens");
}

TEST(BurstGpt, ColumnsInAnyOrderFailuresSkipped) {
  const Trace plain = read_text("b.csv",
                                "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
                                "5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,0,1087,API log\n"
                                "47,GPT-4,10,3,13,API log\n");
  EXPECT_EQ(plain.rows.size(), 2U);
  EXPECT_EQ(plain.skipped_rows, 1);
  EXPECT_EQ(plain.rows[1].arrival, Duration::seconds(42));
  const Trace sessions = read_text("b.csv",
                                   "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens\n"
                                   "1.5,s,2.0,ChatGPT,10,5\n9,s,1.0,ChatGPT,30,5\n");
  EXPECT_TRUE(sessions.has_sessions);
  EXPECT_EQ(sessions.rows[1].turn, 1);
  expect_error("b.csv", "Timestamp,Model,Request tokens,Response tokens\n5,ChatGPT,many,1\n", 2, "Request tokens");
  expect_error("b.csv", "Timestamp,Model,Request tokens,Response tokens\nsoon,ChatGPT,1,1\n", 2, "Timestamp");
}

TEST(Mooncake, BlockSizeIsInferred) {
  const Trace wide =
      read_text("m.jsonl",
                "{\"timestamp\": 1000, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [0, 1]}\n"
                "{\"timestamp\": 1500.5, \"input_length\": 512, \"output_length\": 5, \"hash_ids\": [0]}\n");
  EXPECT_EQ(wide.chain_block_tokens, 512);
  EXPECT_EQ(wide.rows[1].arrival.count_ns(), 500'500'000);
  EXPECT_EQ(wide.chain_ids, (std::vector<std::uint64_t>{0, 1, 0}));
  const Trace narrow =
      read_text("m.jsonl", "{\"timestamp\": 0, \"input_length\": 40, \"output_length\": 5, \"hash_ids\": [7, 8]}\n");
  EXPECT_EQ(narrow.chain_block_tokens, 16);  // full blocks only
}

TEST(Mooncake, BrokenLines) {
  const std::string good = "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [0, 1]}\n";
  expect_error("m.jsonl", good + "{\"timestamp\": 1e300, \"input_length\": 6, \"output_length\": 5}\n", 2,
               "key \"timestamp\": expected a time within 200 years");
  expect_error("m.jsonl", good + "{\"timestamp\": 0, \n", 2, "expected a JSON object on one line");
  expect_error("m.jsonl", good + "{\"timestamp\": 0, \"input_length\": \"6\", \"output_length\": 5}\n", 2,
               "key \"input_length\": expected a whole number of tokens");
  expect_error("m.jsonl", good + "{\"timestamp\": 0, \"input_length\": 6.5, \"output_length\": 5}\n", 2,
               "key \"input_length\": expected a whole number of tokens");
  expect_error("m.jsonl", good + "{\"timestamp\": 0, \"output_length\": 5}\n", 2, "expected a key \"input_length\"");
  expect_error("m.jsonl", good + "{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 5, \"hash_ids\": [1.5]}\n",
               2, "hash_ids");
  expect_error("m.jsonl", "{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 5, \"hash_ids\": [1]}\n", 0,
               "fit blocks of 16 and of 512 tokens: state the block size");
  expect_error("m.jsonl",
               "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [1]}\n"
               "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [1, 2, 3]}\n",
               0, "fit neither");
  const TextFile file("m.jsonl", good);
  TraceSpec spec = trace_of(file.path());
  spec.block_tokens = 64;
  EXPECT_THAT(error_of(spec), HasSubstr(":1: expected 9 or 10 hash_ids for 600 prompt tokens in blocks of 64, got 2"));
  spec.block_tokens = 600;
  EXPECT_THAT(error_of(spec), HasSubstr("got 2")) << "no part of a block is left";
}

TEST(LlmServingSim, FlatRequestsShareTheBlocksOfEqualTokens) {
  std::string ids = "1";
  for (int i = 2; i <= 40; ++i) ids += ", " + std::to_string(i);
  const std::string a =
      "{\"input_toks\": 40, \"output_toks\": 2, \"arrival_time_ns\": 100, \"input_tok_ids\": [" + ids + "]}\n";
  std::string other = ids;
  other.replace(other.find(" 20,"), 4, " 99,");  // within the second block
  const std::string b =
      "{\"input_toks\": 40, \"output_toks\": 2, \"arrival_time_ns\": 300, \"input_tok_ids\": [" + other + "]}\n";
  const Trace trace = read_text("l.jsonl", a + b);
  EXPECT_EQ(trace.format, TraceFormat::llmservingsim);
  EXPECT_EQ(trace.chain_block_tokens, 16);
  ASSERT_EQ(trace.chain_ids.size(), 4U);  // two full blocks each
  EXPECT_EQ(trace.chain_ids[0], trace.chain_ids[2]);
  EXPECT_NE(trace.chain_ids[1], trace.chain_ids[3]);
  EXPECT_EQ(trace.rows[1].arrival.count_ns(), 200);
}

TEST(LlmServingSim, ChainedRequestsFollowTheAnswer) {
  const TextFile file(
      "l.jsonl",
      "{\"session_id\": \"x\", \"arrival_time_ns\": 1000000000, \"sub_requests\": [{\"input_toks\": 10, "
      "\"output_toks\": 3, \"tool_duration_ns\": 500000000}, {\"input_toks\": 20, \"output_toks\": 4, "
      "\"tool_duration_ns\": 0}]}\n{\"input_toks\": 7, \"output_toks\": 1, \"arrival_time_ns\": 3000000000}\n");
  WorkloadSpec spec;
  spec.source = trace_of(file.path());
  const auto source = make_source(spec, 1);
  EXPECT_EQ(source->total_requests(), 3);
  const WorkloadRequest first = source->next();
  EXPECT_EQ(source->peek(), Time() + Duration::seconds(2));  // the single request
  source->on_finished(first.session, 0, Time() + Duration::seconds(1));
  ASSERT_EQ(source->peek(), Time() + Duration::seconds(1.5));
  const WorkloadRequest second = source->next();
  EXPECT_EQ(second.turn, 1);
  EXPECT_EQ(second.content.content_id, first.content.content_id);
  EXPECT_EQ(source->next().prompt_tokens, 7);
  EXPECT_TRUE(source->exhausted());
}

// A chain of two requests and a single one, 2 s apart: three requests, two of which bring their times. As the arrivals
// of another workload the file gives two.
TEST(LlmServingSim, TheRateIsOfAllRequests) {
  const TextFile file(
      "l.jsonl",
      "{\"session_id\": \"x\", \"arrival_time_ns\": 0, \"sub_requests\": [{\"input_toks\": 10, \"output_toks\": 3, "
      "\"tool_duration_ns\": 0}, {\"input_toks\": 20, \"output_toks\": 4, \"tool_duration_ns\": 0}]}\n"
      "{\"input_toks\": 7, \"output_toks\": 1, \"arrival_time_ns\": 2000000000}\n");
  TraceSpec spec = trace_of(file.path());
  spec.rate = 1.5;
  EXPECT_EQ(read_trace(spec).rows.back().arrival, Duration::seconds(1));
  EXPECT_EQ(read_trace(spec, RateOf::requests, 1).rows.size(), 3U)
      << "which one is the first is not known before the run";
  const auto arrivals = make_arrivals(TraceArrivals{spec}, 1);
  arrivals->next();
  EXPECT_EQ(arrivals->next(), Time() + Duration::seconds(2 / 3.0));
}

TEST(LlmServingSim, BrokenLines) {
  expect_error("l.jsonl", "{\"input_toks\": 4, \"output_toks\": 2, \"arrival_time_ns\": -1}\n", 1, "arrival_time_ns");
  expect_error("l.jsonl", "{\"input_toks\": 4, \"output_toks\": 2, \"arrival_time_ns\": 1, \"input_tok_ids\": [1]}\n",
               1, "expected 4 ids");
  expect_error("l.jsonl", "{\"session_id\": 1, \"arrival_time_ns\": 1, \"sub_requests\": [3]}\n", 1,
               "array of objects");
}

TEST(ShareGpt, CountsByTheStatedRatioAndCarriesTheHistory) {
  const TextFile file("s.json",
                      "[{\"id\": \"a\", \"conversations\": [{\"from\": \"gpt\", \"value\": \"ignored\"},\n"
                      "{\"from\": \"human\", \"value\": \"12345678\"}, {\"from\": \"gpt\", \"value\": \"123\"},\n"
                      "{\"from\": \"human\", \"value\": \"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\"}, {\"from\": \"gpt\", "
                      "\"value\": \"12345\"},\n"
                      "{\"from\": \"human\", \"value\": \"no answer\"}]}]");
  TraceSpec spec = trace_of(file.path());
  EXPECT_THAT(error_of(spec), HasSubstr("expected a tokenizer (a SentencePiece .model) or characters_per_token, as in "
                                        "lengths: {empirical: {file: FILE, characters_per_token: 4}}"));
  spec.characters_per_token = 4;
  const Trace trace = read_trace(spec);
  EXPECT_FALSE(trace.has_arrivals);
  ASSERT_EQ(trace.rows.size(), 2U);
  EXPECT_EQ(trace.rows[0].prompt_tokens, 2);
  EXPECT_EQ(trace.rows[0].output_tokens, 1);
  EXPECT_EQ(trace.rows[1].prompt_tokens, 4);  // 2 + 1 + four characters
  EXPECT_EQ(trace.rows[1].output_tokens, 2);
}

TEST(ShareGpt, AMarkOfUtf8BeforeItIsNoText) {
  const TextFile file("s.json",
                      "\xef\xbb\xbf[{\"conversations\": [{\"from\": \"human\", \"value\": \"abcd\"}, "
                      "{\"from\": \"gpt\", \"value\": \"e\"}]}]");
  TraceSpec spec = trace_of(file.path());
  spec.characters_per_token = 1;
  EXPECT_EQ(read_trace(spec).rows.at(0).prompt_tokens, 4);
}

TEST(ShareGpt, BrokenFiles) {
  const std::string good = "[{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}]},\n";
  expect_error("s.json", good + "{\"conversations\": [{\"from\": \"martian\", \"value\": \"a\"}]}]", 2,
               "got \"martian\"");
  expect_error("s.json", good + "{\"conversations\": 3}]", 2, "array of messages");
  expect_error("s.json", good + "\n{\"conversations\": [{]}", 3, "");
  expect_error("s.json", good, 2, "ends within the array");
  expect_error("s.json", "[{\"conversations\": []}]\n[{\"conversations\": []}]", 2, "goes on behind the array");
}

struct Expected {
  const char* file;
  std::size_t rows;
  std::int64_t prompt, output;  // sums of the columns
  std::int32_t block;
};

class RealFiles : public testing::TestWithParam<Expected> {};

TEST_P(RealFiles, RowCountsAndTotals) {
  const Expected& e = GetParam();
  const auto path = shared_data() / e.file;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is missing";
  const Trace trace = read_trace(trace_of(path.string()));
  std::int64_t prompt = 0, output = 0;
  for (const TraceRow& row : trace.rows) prompt += row.prompt_tokens, output += row.output_tokens;
  EXPECT_EQ(trace.rows.size(), e.rows);
  EXPECT_EQ(prompt, e.prompt);
  EXPECT_EQ(output, e.output);
  EXPECT_EQ(trace.chain_block_tokens, e.block);
  EXPECT_EQ(trace.skipped_rows, 0);
}

// Totals by awk and Python over the files.
INSTANTIATE_TEST_SUITE_P(
    Shared, RealFiles,
    testing::Values(Expected{"azure/AzureLLMInferenceTrace_conv.csv", 19'366, 22'361'870, 4'088'665, 0},
                    Expected{"mooncake/conversation_trace.jsonl", 12'031, 144'793'823, 4'122'048, 512},
                    Expected{"vllm_rtx4090_llama31_8b/workload.jsonl", 300, 257'239, 195'753, 16},
                    Expected{"sharegpt/sharegpt_8k_llama2_lengths.csv", 24'372, 56'935'561, 10'719'587, 0}));

}  // namespace
}  // namespace alchemist

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <optional>
#include <string>

#include "tests/workloads/support.h"
#include "workloads/write_trace.h"

namespace alchemist {
namespace {

using testing::HasSubstr;

// In blocks of 16 tokens.
TraceSpec hashed_trace(const TextFile& file) {
  TraceSpec trace = trace_of(file.path());
  trace.block_tokens = 16;
  return trace;
}

// A trace with hashes of such blocks, read and written once more.
std::string written_again(const TextFile& file, std::optional<std::int32_t> block_tokens) {
  WorkloadSpec spec;
  spec.source = hashed_trace(file);
  TraceWriter writer(TraceFormat::mooncake, block_tokens);
  std::string text;
  for_each_request(spec, 1, [&](const WorkloadRequest& r) { writer.request(r, text); });
  return text;
}

TEST(Write, HashesKeepTheSizeOfTheirBlocks) {
  const TextFile file("m.jsonl",
                      "{\"timestamp\": 0, \"input_length\": 40, \"output_length\": 1, \"hash_ids\": [1, 2, 3]}\n"
                      "{\"timestamp\": 9, \"input_length\": 36, \"output_length\": 1, \"hash_ids\": [1, 2, 4]}\n");
  const std::string text = written_again(file, std::nullopt);
  const TextFile copy("c.jsonl", text);
  const Trace read = read_trace(hashed_trace(copy));
  ASSERT_EQ(read.rows.at(1).chain_count, 3U);
  EXPECT_EQ(read.chain_ids.at(1), read.chain_ids.at(read.rows[1].chain_begin + 1)) << "two blocks are shared";
  EXPECT_NE(read.chain_ids.at(2), read.chain_ids.at(read.rows[1].chain_begin + 2));
}

// In blocks of another size than the ids were made for: two prompts that are the same for 16 of their 32 tokens.
TEST(Write, IdsOfOtherBlocksAreNotTakenForThese) {
  const TextFile file("m.jsonl",
                      "{\"timestamp\": 0, \"input_length\": 32, \"output_length\": 1, \"hash_ids\": [1, 2]}\n"
                      "{\"timestamp\": 9, \"input_length\": 32, \"output_length\": 1, \"hash_ids\": [1, 3]}\n"
                      "{\"timestamp\": 9, \"input_length\": 32, \"output_length\": 1, \"hash_ids\": [1, 3]}\n");
  const std::string text = written_again(file, 32);
  EXPECT_THAT(text, HasSubstr("\"hash_ids\": [0]}\n"));
  EXPECT_EQ(text.find("\"hash_ids\": [1]}\n"), text.find("[1]}\n") - std::string("\"hash_ids\": ").size());
  EXPECT_NE(text.find("[1]}\n"), text.rfind("[1]}\n")) << "the last two begin alike, the first does not";
}

// Two prompts of 40 and 36 tokens begin with the same blocks, of which the last is a part. The third has another one
// there, the fourth a whole block more.
TEST(Write, HashesOfPartialBlocksAreKept) {
  const auto line = [](int prompt, const char* ids) {
    return fmt::format("{{\"timestamp\": 0.000, \"input_length\": {}, \"output_length\": 1, \"hash_ids\": [{}]}}\n",
                       prompt, ids);
  };
  const std::string text = line(40, "0, 1, 2") + line(36, "0, 1, 2") + line(36, "0, 1, 3") + line(50, "0, 1, 2, 4");
  const TextFile file("m.jsonl", text);
  EXPECT_EQ(written_again(file, std::nullopt), text);
}

TEST(Write, EveryFormatReadsBackTheSame) {
  const TextFile file(
      "v.csv", "arrived_at,num_prefill_tokens,num_decode_tokens,session_id\n0,40,5,a\n1.25,700,8,b\n2.5,90,1,a\n");
  WorkloadSpec spec;
  spec.source = trace_of(file.path());
  for (TraceFormat format : {TraceFormat::vidur, TraceFormat::azure, TraceFormat::burstgpt, TraceFormat::mooncake,
                             TraceFormat::llmservingsim}) {
    TraceWriter writer(format, 16);
    std::string text;
    writer.header(text);
    for_each_request(spec, 1, [&](const WorkloadRequest& r) { writer.request(r, text); });
    const Trace trace = read_text("copy", text);
    EXPECT_EQ(trace.format, format);
    ASSERT_EQ(trace.rows.size(), 3U);
    EXPECT_EQ(trace.rows[1].arrival, Duration::seconds(1.25));
    EXPECT_EQ(trace.rows[1].prompt_tokens, 700);
    EXPECT_EQ(trace.rows[2].output_tokens, 1);
    if (format == TraceFormat::mooncake) {  // the first two full blocks of 40 tokens come again, the rest does not
      const auto id = [&](std::size_t row, std::size_t k) { return trace.chain_ids[trace.rows[row].chain_begin + k]; };
      EXPECT_EQ(id(0, 0), id(2, 0));
      EXPECT_EQ(id(0, 1), id(2, 1));
      EXPECT_NE(id(0, 2), id(2, 2));
      EXPECT_NE(id(0, 0), id(1, 0));
    }
  }
}

// The nearest of what a format can say: of Azure a tick of 100 ns, of Mooncake a microsecond.
TEST(Write, TimesAreRounded) {
  WorkloadRequest request;
  request.arrival = Time::from_ns(1'999'999'950);
  request.prompt_tokens = 20;
  request.output_tokens = 5;
  const auto line = [&](TraceFormat format) {
    std::string text;
    TraceWriter(format, std::nullopt).request(request, text);
    return text;
  };
  EXPECT_EQ(line(TraceFormat::azure), "2023-01-01 00:00:02.0000000,20,5\n");
  EXPECT_EQ(line(TraceFormat::mooncake),
            "{\"timestamp\": 2000.000, \"input_length\": 20, \"output_length\": 5, \"hash_ids\": [0]}\n");
  EXPECT_EQ(line(TraceFormat::burstgpt), "1.999999950,0,ChatGPT,20,5,25,Conversation log\n") << "both together, too";
}

}  // namespace
}  // namespace alchemist

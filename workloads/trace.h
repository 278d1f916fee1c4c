// Traces: recorded requests in the formats that are in use, read into one form.
//
//   vidur          CSV with a header: arrived_at,num_prefill_tokens,num_decode_tokens (seconds), further columns
//   ignored;
//                  optional session_id (or conversation) and turn, which orders what arrives together; arrived_s stands
//                  for arrived_at; without a column of arrival times the file gives lengths only
//   azure          CSV TIMESTAMP,ContextTokens,GeneratedTokens; the time as YYYY-MM-DD HH:MM:SS.fffffff
//   burstgpt       CSV Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type (seconds); optional
//                  "Session ID" (or SessionID) and "Elapsed time"; column order is free
//   mooncake       JSON lines {"timestamp": ms, "input_length", "output_length", "hash_ids": [...]}; a hash id stands
//   for
//                  a block of tokens and all before it
//   llmservingsim  JSON lines, two kinds which may be mixed: {"input_toks", "output_toks", "arrival_time_ns",
//                  ["input_tok_ids"]} is one request; {"session_id", "arrival_time_ns", "sub_requests": [{"input_toks",
//                  "output_toks", "tool_duration_ns", ["input_tok_ids"]}, ...]} a chain in which each request follows
//                  the end of the one before by its tool_duration_ns
//   vllm_bench     JSON that `vllm bench serve --save-result --save-detailed` writes (workloads/vllm_bench.h); without
//                  start_times it gives lengths only
//   sharegpt       JSON [{"conversations": [{"from": "human"|"gpt"|..., "value": text}, ...]}, ...]; gives lengths only
//
// Rules for all of them. Arrivals are counted from the first and sorted (stably). Rows with no prompt or no output
// tokens (failed requests) are left out and counted. Within a session, a prompt that is no longer than the previous
// prompt and answer together does not contain them and a message besides: such a turn shares no history.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/time.h"
#include "workloads/conversation_model.h"
#include "workloads/spec.h"

namespace alchemist {

struct TraceRow {
  Duration arrival;                        // since the first arrival, after rate scaling
  std::optional<Duration> after_previous;  // this long after the end of the previous turn instead
  std::uint64_t session = 0;
  std::uint64_t content = 0;  // rows with equal content share the tokens that chain ids do not cover
  std::int32_t turn = 0;      // 0, 1, ... within the session
  std::int32_t prompt_tokens = 0;
  std::int32_t output_tokens = 0;
  std::uint32_t chain_begin = 0;  // into Trace::chain_ids
  std::uint32_t chain_count = 0;
};

struct Trace {
  std::string path;
  TraceFormat format = TraceFormat::automatic;
  bool has_arrivals = true;
  bool has_sessions = false;
  std::int32_t chain_block_tokens = 0;   // 0 without hash ids
  std::vector<std::uint64_t> chain_ids;  // of all rows
  std::vector<TraceRow> rows;            // by arrival; turns that follow a previous one come after it
  std::int64_t skipped_rows = 0;         // rows with no prompt or no output tokens
  std::int64_t late_turns = 0;           // that come behind a later turn of their session, as the file numbers them
  int first_late_line = 0;               // of the file, the first of them by arrival
};

// What TraceSpec::rate is the rate of: of all requests, or of the arrivals that the file gives, where nothing follows
// them.
enum class RateOf { requests, arrivals };

// Reads, checks, sorts and scales; with `requests` only so many of them, the first, whose rate is then
// TraceSpec::rate, unless some follow the end of others.
// ConfigError "FILE:LINE: ..." for a file that is missing, has no requests, or a line
// that does not fit the format.
Trace read_trace(const TraceSpec& spec, RateOf rate_of = RateOf::requests, std::optional<std::int64_t> requests = {});

// The format of a file from its first line of content. ConfigError if it is none of them.
TraceFormat detect_format(const std::string& path);

// "vidur", "azure", ...; none for another word. "auto" is TraceFormat::automatic.
std::optional<TraceFormat> parse_format(std::string_view name);
std::string_view format_name(TraceFormat format);
// "auto, vidur, ... or sharegpt": those for which `is_meant` holds, for people.
std::string format_names(bool (*is_meant)(TraceFormat) = [](TraceFormat) { return true; });

// The conversations of a trace as turns. A turn that shares no history begins a conversation of its own.
std::vector<std::vector<Turn>> conversations_of(const Trace& trace);

}  // namespace alchemist

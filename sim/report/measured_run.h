// The times of single requests, simulated or measured, and the reader of a measured run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace alchemist {

// Seconds on one clock for the whole run.
struct RequestTimes {
  std::int64_t request = 0;  // numbered from 0 in order of arrival
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  double arrived_s = 0;
  double scheduled_s = 0;
  double first_token_s = 0;
  double last_token_s = 0;

  double ttft_ms() const { return (first_token_s - arrived_s) * 1e3; }
  double tpot_ms() const {  // (last - first) / max(1, out - 1)
    return (last_token_s - first_token_s) * 1e3 / static_cast<double>(output_tokens > 1 ? output_tokens - 1 : 1);
  }
  double e2el_ms() const { return (last_token_s - arrived_s) * 1e3; }
};

struct RunTimes {
  std::vector<RequestTimes> requests;  // by number
  std::vector<double> gaps_ms;         // between two successive tokens of an answer, in any order; empty: not known
};

// Reads a CSV with the columns request, input_length, output_length, queued_s, scheduled_s, first_token_s, last_token_s
// (others are ignored, the order is free), one line a request, numbered from 0 without holes; the result is by number.
//
// queued_s, when the engine took the request in, stands for the arrival. That is what vLLM's own latency columns count
// from (its log of the RTX 4090 run gives a mean TTFT of 65456.6 ms: first_token_s - queued_s gives 65456.57, counting
// from the trace's timestamps 65401.6 or 65448.5, depending on where its clock starts). It is later than the scheduled
// arrival by up to one engine step, since the engine looks for new requests between steps.
//
// Throws ConfigError (FILE:LINE) for a missing file or column, a field that is not a number, times that run backwards,
// a number twice or missing, and a file without requests.
std::vector<RequestTimes> read_measured_requests(const std::string& path);

}  // namespace alchemist

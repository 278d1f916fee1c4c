// What `vllm bench serve --save-result --save-detailed` writes of a run (vllm-project/vllm, vllm/benchmarks/serve.py):
// one JSON object on one line, with a list entry for each request.
//
//   input_lens, output_lens   tokens; none of either: the request failed
//   start_times               seconds, when the client sent it; older versions lack them
//   ttfts                     seconds from then to the first token
//   itls                      a list each: seconds between the parts in which the rest of the answer came
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace alchemist {

struct BenchRequest {
  std::int32_t input_tokens = 0;
  std::int32_t output_tokens = 0;
  std::optional<double> start_s;
  double ttft_s = 0;
  std::vector<double> gaps_s;

  bool failed() const { return input_tokens == 0 || output_tokens == 0; }
};

// In the order of the file. ConfigError (FILE:LINE) for what is none, lists of unequal length, times below 0, and
// several runs in one file.
std::vector<BenchRequest> read_bench_requests(const std::string& path);

// Whether a file could be one: that it begins with a JSON object. ConfigError if it cannot be read.
bool begins_with_object(const std::string& path);

}  // namespace alchemist

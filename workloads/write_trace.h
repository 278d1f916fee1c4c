// Requests as lines of a trace file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "sim/base/workload.h"
#include "workloads/spec.h"

namespace alchemist {

// Appends text that read_trace() reads back to the same lengths and, to the precision of the format, arrivals.
//   vidur          with session_id and turn; nanoseconds; sharing beyond sessions is lost
//   azure          counted from 2023-01-01 00:00:00; 100 ns; sessions and sharing are lost
//   burstgpt       with Session ID; nanoseconds; sharing beyond sessions is lost
//   mooncake       hash ids of blocks of `block_tokens`, or as large as those of the first prompt that has some, else
//   of
//                  512, so that prefix sharing survives, the last one of each prompt for what is left of it;
//                  microseconds; sessions are lost
//   llmservingsim  single requests; nanoseconds; sessions and sharing are lost
class TraceWriter {
 public:
  // Those above.
  static bool writes(TraceFormat format);
  // Precondition: writes(format).
  TraceWriter(TraceFormat format, std::optional<std::int32_t> block_tokens);
  void header(std::string& out) const;
  void request(const WorkloadRequest& request, std::string& out);
  // What the format has no place for of the requests so far, as text; empty if nothing was lost.
  std::string lost() const;

 private:
  void mooncake(const WorkloadRequest& request, std::string& out);
  TraceFormat format_;
  std::optional<std::int32_t> block_tokens_;
  std::int64_t later_turns_ = 0, hashed_ = 0;  // requests: of a conversation that goes on, with hashes of their prompt
  std::unordered_map<std::uint64_t, std::uint64_t> block_numbers_;  // small numbers in order of appearance
};

// Identity of the first `end` tokens of a prompt: equal for two requests only if those tokens are equal.
// Precondition: 1 <= end <= prompt_tokens.
std::uint64_t prefix_identity(const PromptContent& content, std::int32_t end);

}  // namespace alchemist

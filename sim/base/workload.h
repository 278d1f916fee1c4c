// What a workload hands to the world, one request at a time. Only the world (simulated or real host) sees output
// lengths; the node sees an Arrival (sim/base/events.h), which has none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

#include "sim/base/ids.h"
#include "sim/base/time.h"

namespace alchemist {

// Identity of a prompt's content, for prefix sharing. Two requests share their first k tokens exactly if their first
// k tokens have equal ids. Position p of the prompt has the identity
//   chain_ids[p / chain_block_tokens]  where that index exists (a trace's own block hashes: equal id = equal prefix),
//   (content_id, p)                     elsewhere: requests of one session share history by sharing content_id.
struct PromptContent {
  std::uint64_t content_id = 0;              // of the tokens that chain_ids do not cover, and of the answer
  std::span<const std::uint64_t> chain_ids;  // owned by the workload; valid for the workload's lifetime
  std::int32_t chain_block_tokens = 0;       // tokens that one chain id stands for; 0 without chain_ids

  // Of a prompt of so many tokens, those that chain ids name.
  std::int32_t named_by_chain(std::int32_t prompt_tokens) const {
    return static_cast<std::int32_t>(
        std::min<std::int64_t>(prompt_tokens, static_cast<std::int64_t>(chain_ids.size()) * chain_block_tokens));
  }
};

// A prompt of so many tokens, which its answer follows.
struct Prompt {
  PromptContent content;
  std::int32_t tokens = 0;
};

// Both begin with the same `count` >= 1 tokens, as far as their identities tell.
inline bool share_prefix(const Prompt& a, const Prompt& b, std::int32_t count) {
  const bool a_in_chain = count <= a.content.named_by_chain(a.tokens);
  if (a_in_chain != (count <= b.content.named_by_chain(b.tokens))) return false;
  if (!a_in_chain) return a.content.content_id == b.content.content_id;
  if (a.content.chain_block_tokens != b.content.chain_block_tokens) return false;
  const auto last = static_cast<std::size_t>((count - 1) / a.content.chain_block_tokens);
  return a.content.chain_ids[last] == b.content.chain_ids[last];
}

struct WorkloadRequest {
  Time arrival;
  SessionId session;
  std::int32_t turn = 0;           // 0 for the first of its session
  std::int32_t prompt_tokens = 0;  // >= 1, history included
  std::int32_t output_tokens = 0;  // >= 1
  PromptContent content;
};

// A stream of requests in order of arrival. Closed-loop sources add the next turn when told that an answer is complete.
class WorkloadSource {
 public:
  virtual ~WorkloadSource() = default;

  // The arrival time of the request that next() will return, or none if nothing is pending now. A later on_finished()
  // may bring it forward (closed loop), never before the time of that call.
  virtual std::optional<Time> peek() const = 0;

  // Precondition: peek() has a value.
  virtual WorkloadRequest next() = 0;

  // The answer to turn `turn` of `session` was complete at `now`.
  virtual void on_finished(SessionId session, std::int32_t turn, Time now) = 0;

  // True if no request will come any more, whatever finishes.
  virtual bool exhausted() const = 0;

  // How many requests the source will yield in all, where that is known (progress display only).
  virtual std::optional<std::int64_t> total_requests() const = 0;
};

}  // namespace alchemist

// What a run tells those who watch it (results, traces, a recorder). Observers never influence the run.
#pragma once

#include <cstdint>
#include <optional>

#include "sim/base/bytes.h"
#include "sim/base/ids.h"
#include "sim/base/time.h"

namespace alchemist {

// A request's life, told once, when nothing more can happen to it.
struct RequestOutcome {
  RequestId id;
  SessionId session;
  std::int32_t turn = 0;
  ReplicaId replica;
  Time arrived;
  Time scheduled;  // first time that a step containing it was submitted
  Time first_token;
  Time finished;  // last token
  std::int32_t prompt_tokens = 0;
  std::int32_t output_tokens = 0;
  std::int32_t prefix_hit_tokens = 0;  // prompt tokens found in the prefix cache when first scheduled
  std::int32_t preemptions = 0;
  std::int64_t recorded_tokens = 0;  // tokens whose activations were recorded
  Bytes recorded_bytes;
  std::optional<Time> trained_at;           // when the optimizer step that used it ended
  std::optional<std::int32_t> version_lag;  // optimizer steps between recording and use

  Duration ttft() const { return first_token - arrived; }
  Duration e2e() const { return finished - arrived; }
  // (last - first) / max(1, out - 1), in seconds.
  double tpot_seconds() const {
    return (finished - first_token).in_seconds() / (output_tokens > 1 ? output_tokens - 1 : 1);
  }
};

// One operation of serving: a step with prefills, or a run of equal decode steps.
struct ServingSpan {
  ReplicaId replica;
  Time start;
  Time end;
  std::int64_t steps = 1;
  std::int64_t prefill_tokens = 0;
  std::int32_t decodes = 0;  // requests decoding, in each of the steps
  std::int32_t running = 0;  // requests running when the operation was submitted
  std::int32_t waiting = 0;  // requests waiting when the operation was submitted
};

// GPU and pinned host memory of one replica by category.
struct MemoryUse {
  Bytes weights;
  Bytes kv;           // KV blocks that running requests hold; cached free blocks do not count
  Bytes activations;  // records of serving's activations
  Bytes training;     // gradients, optimizer state, working set
  Bytes host;         // pinned host memory in use
  Bytes total() const { return weights + kv + activations + training; }
};

class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void on_request_arrived(ReplicaId, RequestId, Time) {}
  virtual void on_request_outcome(const RequestOutcome&) {}
  virtual void on_preemption(ReplicaId, RequestId, Time) {}
  virtual void on_serving_span(const ServingSpan&) {}
  // `count` requests each waited `gap` between two successive output tokens, the second of which came at `now`.
  virtual void on_token_gap(Time now, Duration gap, std::int64_t count) { (void)now, (void)gap, (void)count; }
  virtual void on_memory(ReplicaId, Time, const MemoryUse&) {}
};

}  // namespace alchemist

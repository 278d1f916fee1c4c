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
  Time queued;     // when the engine, which looks for new requests between steps, took it in
  Time scheduled;  // first time that a step containing it was submitted
  Time first_token;
  Time finished;  // last token
  std::int32_t prompt_tokens = 0;
  std::int32_t output_tokens = 0;
  std::int32_t prefix_hit_tokens = 0;    // prompt tokens found in the prefix cache when first scheduled
  std::int32_t stale_prefix_tokens = 0;  // of them, computed by older weights than the request's own step had
  std::int32_t preemptions = 0;
  std::optional<Duration> longest_gap;  // between two successive output tokens; none for a single token
  std::int64_t recorded_tokens = 0;     // tokens whose activations were recorded
  Bytes recorded_bytes;
  std::optional<Time> trained_at;           // when the optimizer step that used it ended
  std::optional<std::int32_t> version_lag;  // optimizer steps between recording and use; none without a record

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
  std::int32_t decodes = 0;  // requests decoding in its first step; in its last one some may be gone
  std::int32_t running = 0;  // requests running when the operation was submitted
  std::int32_t waiting = 0;  // requests waiting when the operation was submitted
  Duration recording;  // of its time: spent on keeping activations for training. In a real run, which does not tell
                       // it apart, what the cost model says
};

// GPU and pinned host memory of one replica by category; where it is several GPUs, which hold equally much, of one of
// them.
struct MemoryUse {
  Bytes weights;
  Bytes kv;           // KV blocks that running requests hold; cached free blocks do not count
  Bytes activations;  // records of serving's activations
  Bytes training;     // gradients, optimizer state, working set
  Bytes host;         // pinned host memory in use
  Bytes total() const { return weights + kv + activations + training; }
  friend bool operator==(const MemoryUse&, const MemoryUse&) = default;
};

enum class LinkDirection : std::uint8_t { kHostToDevice, kDeviceToHost };

// One transfer over a replica's link, from its submission to the link until its last byte. Where the replica is several
// GPUs, each has a link of its own that carries as much at the same time; this is one of them.
struct TransferSpan {
  ReplicaId replica;
  LinkDirection direction = LinkDirection::kHostToDevice;
  Time start;
  Time end;
  Bytes bytes;
};

enum class TrainingPhase : std::uint8_t { kRestore, kForward, kBackward, kOptimizer };

// One piece of a training step on one replica's GPUs.
struct TrainingSpan {
  ReplicaId replica;
  TrainingPhase phase = TrainingPhase::kForward;
  Time start;
  Time end;
};

// One training step of the whole cluster, told when the optimizers of all its replicas are done. Times of its phases
// are means over the replicas that took part.
struct TrainingStep {
  WeightVersion version;  // of the weights that the step produced
  std::int32_t replicas = 1;
  Time start;  // of the first replica
  Time end;    // of the last one
  std::int64_t tokens = 0;
  std::int64_t samples = 0;
  Duration restore_stall;  // GPU idle because activations had not come back
  Duration forward;        // recomputed and fresh forward
  Duration backward;
  Duration gradient_wait;  // of a replica whose gradients are complete, for those of others
  Duration optimizer;
  Duration gpu_time;           // spent by the step, summed over the replicas
  Duration redundant_forward;  // part of gpu_time: forward over tokens that serving had already computed
  // Of the tokens, those whose activations came from a record, and those that the step ran forward. Copies of a prompt
  // before its other answers are neither.
  std::int64_t reused_tokens = 0;
  std::int64_t recomputed_tokens = 0;
  std::int64_t dropped_tokens = 0;   // recorded once, but their record was gone
  std::int64_t reusing_samples = 0;  // that had a record
  std::int64_t version_lag_sum = 0;  // over these: optimizer steps between recording and use
};

class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void on_request_arrived(ReplicaId, RequestId, Time) {}
  virtual void on_request_outcome(const RequestOutcome&) {}
  virtual void on_preemption(ReplicaId, RequestId, Time) {}
  // Spans of one replica (serving and training alike) are told in order of their start, unless they run beside others.
  virtual void on_serving_span(const ServingSpan&) {}
  // `count` requests each waited `gap` between two successive output tokens, the second of which came at `now`.
  virtual void on_token_gap(Time now, Duration gap, std::int64_t count) { (void)now, (void)gap, (void)count; }
  // The use from now on; told whenever it changes. Times of one replica never go back.
  virtual void on_memory(ReplicaId, Time, const MemoryUse&) {}
  virtual void on_transfer(const TransferSpan&) {}
  virtual void on_training_span(const TrainingSpan&) {}
  virtual void on_training_step(const TrainingStep&) {}
};

}  // namespace alchemist

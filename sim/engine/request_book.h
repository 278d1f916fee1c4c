// The requests of one replica as their world knows them, be it simulated or real: how long each answer is, which of
// them decode, when each token came. Both worlds keep the same book, so that they tell their observers the same things.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sim/base/batch.h"
#include "sim/base/observer.h"
#include "sim/base/recent_maximum.h"
#include "sim/base/workload.h"
#include "sim/engine/decode_batch.h"
#include "sim/node/host.h"

namespace alchemist {

class RequestBook {
 public:
  // `observer` outlives the book.
  RequestBook(ReplicaId replica, RunObserver& observer) : replica_(replica), observer_(observer) {}

  // Takes a request into the world; the arrival is what the node may know of it.
  Arrival accept(RequestId id, const WorkloadRequest& request);
  // The engine looks for new requests: those that have arrived are its own from now on.
  void take_in(Time now);
  // The node submits this.
  void submitted(const ServingOp& op, Time now);
  // An operation begins, which preempts these live requests. Returns the bytes that it records.
  Bytes begin(std::span<const PrefillWork> prefills, std::span<const RequestHandle> preempted, Time now);
  // The step of it that comes next: all that decode, and these prompts (the operation's first step only), whose chunks
  // are put into `chunks`, which outlives the shape.
  BatchShape next_step(std::span<const PrefillWork> prefills, std::vector<PrefillChunk>& chunks) const {
    BatchShape shape;
    shape.decodes = shape.sampled = batch_.size();
    shape.decode_context_sum = batch_.context_sum();
    shape.decode_context_max = static_cast<std::int32_t>(batch_.context_max());
    chunks.clear();
    for (const PrefillWork& work : prefills) {
      chunks.push_back(work.chunk);
      shape.sampled += work.last ? 1 : 0;
    }
    shape.prefills = chunks;
    return shape;
  }
  // A step of it ends: every request that decodes gets a token, and so do the prompts that end here (the operation's
  // first step only).
  void end_step(Time end, std::span<const PrefillWork> prefills);
  // Whose last token came with the latest step.
  std::span<const RequestHandle> ended() const { return ended_; }
  // The request of a handle that has ended, as it is told to observers. Frees the handle.
  RequestOutcome take_outcome(RequestHandle handle, Time now);

  const DecodeBatch& batch() const { return batch_; }
  std::int64_t live() const { return live_; }
  const WorkloadRequest& spec(RequestHandle handle) const { return requests_[handle.value()].spec; }

 private:
  struct Request {
    RequestId id;
    WorkloadRequest spec;
    std::int32_t produced = 0;  // tokens of the answer so far, unless decoding
    Time queued;
    bool scheduled = false;
    Time scheduled_at;
    Time first_token;
    Time last_token;                      // valid while preempted
    std::int64_t joined_step = 0;         // steps of this host when it last began to decode
    std::optional<Duration> longest_gap;  // before that
    std::int32_t prefix_hit_tokens = 0;
    std::int32_t stale_prefix_tokens = 0;
    std::int32_t preemptions = 0;
    std::int64_t recorded_tokens = 0;
    Bytes recorded_bytes;
    std::int32_t latest_answer_end = 0;  // of the latest run of its answer that has memory for a record
    std::int32_t latest_answer_tokens = 0;
  };

  Request& at(RequestHandle handle) { return requests_[handle.value()]; }
  void preempt(RequestHandle handle, Time now);
  void count_answer(const AnswerPart& answer);
  static std::int64_t recorded_tokens(const Request& request);
  void emit_prefill_tokens(std::span<const PrefillWork> prefills, Time end);
  void count_gap(Request& request, std::optional<Duration> gap);

  ReplicaId replica_;
  RunObserver& observer_;
  std::vector<Request> requests_;  // by handle
  std::vector<RequestHandle> free_handles_;
  std::vector<RequestHandle> newcomers_;  // not taken in yet
  std::int64_t live_ = 0;

  DecodeBatch batch_;
  std::int64_t total_steps_ = 0;
  RecentMaximum<Duration> gaps_;  // of the batch, by step
  Time last_step_end_;            // when every request of the batch got its latest token
  std::vector<RequestHandle> ended_;
};

}  // namespace alchemist

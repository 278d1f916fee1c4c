// Continuous batching as vLLM v1 does it (vllm/v1/core/sched/scheduler.py): running requests first, then waiting ones
// first-come, within a token budget; chunked prefill; paged KV with prefix caching; on shortage of blocks the newest
// running request is preempted and later recomputed.
//
// Cost: planning a step does not visit the requests that merely decode. All of them advance with one counter, the
// decode clock; a request is touched when it needs a block (it waits in the bucket of that phase of the clock), ends,
// or is preempted.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "sim/base/batch.h"
#include "sim/base/events.h"
#include "sim/node/block_pool.h"
#include "sim/node/host.h"
#include "sim/node/serving_config.h"

namespace alchemist {

// Who else holds KV memory and gives it back when serving needs it.
class BlockLender {
 public:
  virtual ~BlockLender() = default;
  // Serving is short of `blocks`. Frees them at once if `urgent`; otherwise some may come free later, and the lender
  // then has the scheduler plan again.
  virtual void reclaim(std::int32_t blocks, bool urgent) = 0;
};

class Scheduler {
 public:
  // `kv_blocks` >= 1. Precondition: max_num_batched_tokens >= max_num_seqs >= 1 (as vLLM requires), so that every
  // decoding request computes a token in every step.
  // `lender`, if any, outlives the scheduler.
  Scheduler(const ServingConfig& config, std::int32_t kv_blocks, BlockLender* lender = nullptr);

  // KV blocks that so many tokens take.
  std::int32_t blocks_for(std::int64_t tokens) const;
  // True if the request can be served at all: that many tokens fit the whole pool.
  bool can_ever_fit(std::int32_t total_tokens) const;

  void enqueue(const Arrival& arrival);

  // Plans the step that follows the one planned before, takes the blocks that it needs, and returns it; none if there
  // is nothing to do, or if all of it waits for memory that a lender gives back. May be called while the previous step
  // is still running, whose outcome is then taken for granted. The spans of the result are valid until the next call of
  // any member.
  std::optional<ServingOp> plan();
  // The run planned last has begun its `steps`-th step: takes the blocks that its steps so far needed, as single steps
  // would have.
  void catch_up(std::int64_t steps);
  // The step planned last is over (or taken for granted): its prompts are computed.
  void commit();
  // A step is planned that is not committed yet.
  bool has_plan() const { return planned_; }
  // The step planned last will not run, because all its requests have ended.
  void drop_planned();
  // Steps planned from now on run with other weights. With ServingConfig::reset_prefix_cache nothing that older ones
  // computed is hit any more; requests that are running go on with it.
  void on_new_weights();
  // These requests have ended; their blocks become free.
  void end(std::span<const RequestHandle> ended);

  std::int32_t running() const { return static_cast<std::int32_t>(running_.size()); }
  std::int32_t decoding() const { return decodes_; }  // of them
  std::int32_t waiting() const { return static_cast<std::int32_t>(waiting_.size()); }
  // The plan made last left a request out for which there was no memory.
  bool lacks_blocks() const { return lacks_blocks_; }
  // Tokens of a live request whose keys and values exist behind the steps committed so far.
  std::int32_t computed(RequestHandle handle) const {
    return static_cast<std::int32_t>(computed_tokens(requests_[handle.value()]));
  }
  // For routing. Prompt tokens that are computed before those of a request that joins now: of waiting requests without
  // what the prefix cache held when they came (weighs_prompts), of running ones what no step planned so far computes.
  // And tokens of the requests that decode, whose keys and values every step reads.
  struct Load {
    std::int64_t to_compute = 0;
    std::int64_t decoding = 0;
  };
  Load load() const;
  // A running request still computes its prompt.
  bool computes_prompt() const;
  const BlockPool& pool() const { return pool_; }
  BlockPool& pool() { return pool_; }
  // Tokens of this prompt that the prefix cache holds now (for routing).
  std::int32_t cached_prefix_tokens(const PromptContent& content, std::int32_t prompt_tokens) const;

 private:
  enum class State : std::uint8_t { kWaiting, kPrefilling, kDecoding };

  struct Request {
    PromptContent content;
    std::int32_t prompt_tokens = 0;
    std::int32_t target = 0;         // tokens to have computed before it decodes: the prompt, and after a preemption
                                     // also the tokens generated so far
    std::int32_t computed = 0;       // tokens whose keys and values are in its blocks, unless decoding
    std::int64_t decode_offset = 0;  // while decoding: computed = decode_offset + decode clock
    std::int32_t to_compute = 0;     // while waiting: tokens of its target that were not cached when it began to
    std::int32_t published = 0;      // leading blocks that the prefix cache knows
    std::int64_t weights = 0;        // of weights_, when it was admitted
    State state = State::kWaiting;
    std::vector<BlockId> blocks;  // keeps its capacity for the next user of the handle
  };

  Request& at(RequestHandle handle) { return requests_[handle.value()]; }
  PrefixHash prefix_hash(const Request& request, std::int32_t block) const;
  std::int64_t computed_tokens(const Request& request) const;

  void plan_decodes();
  bool allocate_for_decode(RequestHandle handle);
  bool have_free(std::int32_t blocks, bool urgent);
  void plan_running_prefill();
  void plan_waiting();
  void await(Request& request, std::int32_t tokens);
  bool admit(RequestHandle handle);
  void find_prefix(const PromptContent& content, std::int32_t prompt_tokens, std::int32_t tokens) const;
  void note_missed(const Request& request, std::int32_t found);
  void schedule_chunk(RequestHandle handle, std::int32_t tokens);
  void preempt_newest();
  void publish_full_blocks(Request& request, std::int64_t computed);
  void release_blocks(Request& request);
  bool waits_for_an_answer() const;
  std::int64_t steps_that_fit() const;
  std::int64_t steps_without_blocks() const;

  void start_decoding(RequestHandle handle);
  void stop_decoding(RequestHandle handle);

  std::vector<RequestHandle>& bucket_of(const Request& request);
  std::vector<RequestHandle>& bucket_now();

  ServingConfig config_;
  BlockPool pool_;
  BlockLender* lender_;
  std::vector<Request> requests_;  // by handle
  std::deque<RequestHandle> waiting_;
  std::int64_t waiting_tokens_ = 0;     // Request::to_compute of these
  std::vector<RequestHandle> running_;  // in order of admission; at most the last one is prefilling between steps

  std::int64_t weights_ = 0;       // how often they have changed
  std::int64_t decode_clock_ = 0;  // steps committed
  std::int32_t decodes_ = 0;

  std::vector<std::vector<RequestHandle>> buckets_;  // decoding requests by the phase in which they need a block

  // The step planned last.
  std::int32_t budget_ = 0;
  bool preempted_any_ = false;
  bool lacks_blocks_ = false;
  std::vector<PrefillWork> prefills_;
  std::vector<RequestHandle> preempted_;
  bool preempted_told_ = true;  // by an operation; until then they stay
  std::vector<GrownTable> grown_;
  mutable std::vector<BlockId> found_;  // by find_prefix()
  bool planned_ = false;                // planned and not committed yet
  bool in_flight_ = false;              // the one before was still running when this one was planned
  std::int64_t steps_begun_ = 0;        // of it, as far as the pool reflects them
};

}  // namespace alchemist

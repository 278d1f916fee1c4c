#include "sim/node/scheduler.h"

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/random.h"

namespace alchemist {

Scheduler::Scheduler(const ServingConfig& config, std::int32_t kv_blocks, BlockLender* lender)
    : config_(config), pool_(kv_blocks), lender_(lender), buckets_(static_cast<std::size_t>(config.block_size)) {
  check(config.max_num_seqs >= 1 && config.block_size >= 1, "sizes are positive");
  check(config.max_num_batched_tokens >= config.max_num_seqs, "every decoding request fits the token budget");
  running_.reserve(static_cast<std::size_t>(config.max_num_seqs));
}

bool Scheduler::can_ever_fit(std::int32_t total_tokens) const { return blocks_for(total_tokens) <= pool_.total(); }

std::int32_t Scheduler::blocks_for(std::int64_t tokens) const {
  return static_cast<std::int32_t>((tokens + config_.block_size - 1) / config_.block_size);
}

namespace {

PrefixHash hash_of_prefix(const PromptContent& content, std::int32_t prompt_tokens, std::int32_t end,
                          std::int32_t block) {
  if (end <= content.named_by_chain(prompt_tokens))
    return mix64(content.chain_ids[(end - 1) / content.chain_block_tokens], end);
  // Neighbouring blocks of one content get neighbouring hashes, so that the pool's buckets for them share cache lines.
  return mix64(content.content_id) + static_cast<std::uint64_t>(block);
}

}  // namespace

PrefixHash Scheduler::prefix_hash(const Request& request, std::int32_t block) const {
  return hash_of_prefix(request.content, request.prompt_tokens, (block + 1) * config_.block_size, block);
}

std::int64_t Scheduler::computed_tokens(const Request& request) const {
  return request.state == State::kDecoding ? request.decode_offset + decode_clock_ : request.computed;
}

void Scheduler::enqueue(const Arrival& arrival) {
  if (arrival.request.value() >= requests_.size()) requests_.resize(arrival.request.value() + 1);
  Request& request = at(arrival.request);
  check(request.blocks.empty(), "a handle is used again only after its request has ended");
  request.content = arrival.content;
  request.prompt_tokens = arrival.prompt_tokens;
  request.target = arrival.prompt_tokens;
  request.computed = 0;
  request.published = 0;
  const std::int32_t cached = config_.weighs_prompts ? cached_prefix_tokens(arrival.content, arrival.prompt_tokens) : 0;
  await(request, arrival.prompt_tokens - cached);
  waiting_.push_back(arrival.request);
}

// The request waits, and will have so many tokens to compute.
void Scheduler::await(Request& request, std::int32_t tokens) {
  request.state = State::kWaiting;
  request.to_compute = tokens;
  waiting_tokens_ += tokens;
}

Scheduler::Load Scheduler::load() const {
  Load load{waiting_tokens_, 0};
  for (const RequestHandle handle : running_) {
    const Request& request = requests_[handle.value()];
    const bool decodes = request.state == State::kDecoding;
    (decodes ? load.decoding : load.to_compute) +=
        decodes ? computed_tokens(request) : request.target - request.computed;
  }
  return load;
}

std::optional<ServingOp> Scheduler::plan() {
  in_flight_ = planned_;
  if (planned_) commit();
  if (running_.empty() && waiting_.empty()) return std::nullopt;
  prefills_.clear();
  if (preempted_told_) preempted_.clear();
  preempted_told_ = false;
  grown_.clear();
  preempted_any_ = false;
  lacks_blocks_ = false;
  budget_ = config_.max_num_batched_tokens;
  plan_decodes();
  plan_running_prefill();
  // vLLM admits nobody in a step that had to preempt. Here somebody is where that left the step without work, unless
  // the step in flight may end who gave way and would be the first to be admitted.
  if (!preempted_any_ || (decodes_ == 0 && prefills_.empty() && !in_flight_)) plan_waiting();
  if (decodes_ == 0 && prefills_.empty()) {
    check(lender_ != nullptr || in_flight_, "a replica with requests and nothing under way has a step to run");
    return std::nullopt;
  }
  preempted_told_ = true;

  for (PrefillWork& work : prefills_) work.blocks = at(work.request).blocks;
  ServingOp op;
  op.prefills = prefills_;
  op.preempted = preempted_;
  op.grown = grown_;
  op.max_steps = 1;
  if (prefills_.empty() && !preempted_any_) {
    const bool one_by_one = config_.blocks_known_ahead || waits_for_an_answer();
    op.max_steps = one_by_one ? steps_without_blocks() : steps_that_fit();
  }
  op.running = running();
  op.waiting = waiting();
  planned_ = true;
  steps_begun_ = 1;
  return op;
}

void Scheduler::plan_decodes() {
  budget_ -= decodes_;
  std::vector<RequestHandle>& due = bucket_now();
  // In order of admission. A preemption removes the newest request, which is at the end of the bucket if it is in it.
  for (std::size_t i = 0; i < due.size(); ++i) {
    const std::int32_t decodes_before = decodes_;
    if (!allocate_for_decode(due[i])) break;
    budget_ += decodes_before - decodes_;
  }
}

// Publishes the block that has just become full and takes the next one, preempting newer requests as needed. False if
// the request itself had to give way; then no newer one is left.
bool Scheduler::allocate_for_decode(RequestHandle handle) {
  while (!have_free(1, true)) {
    const bool itself = running_.back() == handle;
    preempt_newest();
    if (itself) return false;
  }
  Request& request = at(handle);
  publish_full_blocks(request, computed_tokens(request));
  request.blocks.push_back(pool_.allocate());
  grown_.push_back({handle, request.blocks.back()});
  return true;
}

// Asks the lender for what is missing. What it frees goes to the free list and takes no block out of the prefix cache.
bool Scheduler::have_free(std::int32_t blocks, bool urgent) {
  if (pool_.free() < blocks && lender_) lender_->reclaim(blocks - pool_.free(), urgent);
  lacks_blocks_ = pool_.free() < blocks;
  return !lacks_blocks_;
}

bool Scheduler::computes_prompt() const {
  return !running_.empty() && requests_[running_.back().value()].state == State::kPrefilling;
}

void Scheduler::plan_running_prefill() {
  if (running_.empty() || at(running_.back()).state != State::kPrefilling) return;
  const RequestHandle handle = running_.back();
  const Request& request = at(handle);
  const std::int32_t tokens = std::min(request.target - request.computed, budget_);
  if (tokens == 0) return;
  const auto held = static_cast<std::int32_t>(request.blocks.size());
  if (!have_free(blocks_for(request.computed + tokens) - held, true)) {
    preempt_newest();  // the newest is this request itself
    return;
  }
  schedule_chunk(handle, tokens);
}

void Scheduler::plan_waiting() {
  while (!waiting_.empty() && budget_ > 0 && running() < config_.max_num_seqs) {
    const RequestHandle handle = waiting_.front();
    if (!admit(handle)) return;
    waiting_.pop_front();
    waiting_tokens_ -= at(handle).to_compute;
    running_.push_back(handle);
  }
}

// Takes the cached prefix and the blocks of the first chunk, and schedules it; false if that is not possible now.
bool Scheduler::admit(RequestHandle handle) {
  Request& request = at(handle);
  // The last token is always computed, because its output is needed.
  find_prefix(request.content, request.prompt_tokens, request.target - 1);
  const auto hit_blocks = static_cast<std::int32_t>(found_.size());
  const std::int32_t hit_tokens = hit_blocks * config_.block_size;
  const std::int32_t remaining = request.target - hit_tokens;
  if (remaining > budget_ && !config_.chunked_prefill) return false;
  const std::int32_t tokens = std::min(remaining, budget_);

  std::int32_t hits_on_free_list = 0, stale_hits = 0;
  for (const BlockId block : found_) {
    hits_on_free_list += pool_.is_free(block) ? 1 : 0;
    stale_hits += pool_.is_stale(block) ? 1 : 0;
  }
  const std::int32_t must_fit = config_.reserve_full_prompt ? request.target : hit_tokens + tokens;
  if (!have_free(blocks_for(must_fit) - hit_blocks + hits_on_free_list, false)) return false;

  for (const BlockId block : found_) pool_.share(block);
  note_missed(request, hit_blocks);
  request.blocks.assign(found_.begin(), found_.end());
  request.computed = hit_tokens;
  request.published = hit_blocks;
  request.weights = weights_;
  request.state = State::kPrefilling;
  schedule_chunk(handle, tokens);
  prefills_.back().stale_context = stale_hits * config_.block_size;
  return true;
}

// Leaves in found_ the blocks of the longest cached prefix of at most `tokens` tokens.
void Scheduler::find_prefix(const PromptContent& content, std::int32_t prompt_tokens, std::int32_t tokens) const {
  found_.clear();
  if (!config_.prefix_caching) return;
  const std::int32_t size = config_.block_size;
  for (std::int32_t i = 0; (i + 1) * size <= tokens; ++i) {
    const auto block = pool_.find(hash_of_prefix(content, prompt_tokens, (i + 1) * size, i));
    if (!block) return;
    found_.push_back(*block);
  }
}

// Of its prompt's blocks, behind those that were found, the ones that a larger cache would still have held.
void Scheduler::note_missed(const Request& request, std::int32_t found) {
  if (!config_.prefix_caching) return;
  const std::int32_t size = config_.block_size;
  pool_.note_computed(blocks_for(request.target) - found);
  for (std::int32_t i = found; (i + 1) * size < request.target; ++i) {
    if (!pool_.note_missed(hash_of_prefix(request.content, request.prompt_tokens, (i + 1) * size, i))) return;
  }
}

std::int32_t Scheduler::cached_prefix_tokens(const PromptContent& content, std::int32_t prompt_tokens) const {
  find_prefix(content, prompt_tokens, prompt_tokens - 1);
  return static_cast<std::int32_t>(found_.size()) * config_.block_size;
}

void Scheduler::schedule_chunk(RequestHandle handle, std::int32_t tokens) {
  Request& request = at(handle);
  const std::int32_t needed = blocks_for(request.computed + tokens);
  while (static_cast<std::int32_t>(request.blocks.size()) < needed) request.blocks.push_back(pool_.allocate());
  // As in vLLM, blocks are published when the step that fills them is scheduled: a later request of the same step may
  // share them, since every layer writes its keys and values before it attends.
  publish_full_blocks(request, request.computed + tokens);
  const bool last = request.computed + tokens == request.target;
  const PrefillChunk chunk{tokens, request.computed};
  PrefillWork& work = prefills_.emplace_back();
  work.request = handle;
  work.chunk = chunk;
  work.target = request.target;
  work.last = last;
  budget_ -= tokens;
}

void Scheduler::preempt_newest() {
  const RequestHandle handle = running_.back();
  Request& request = at(handle);
  if (request.state == State::kDecoding) {
    // Its last token was generated but not computed; the recomputation yields the one after it.
    request.target = static_cast<std::int32_t>(computed_tokens(request)) + 1;
    // As in vLLM, what the step in flight computes of it is not published any more.
    publish_full_blocks(request, computed_tokens(request) - (in_flight_ ? 1 : 0));
    stop_decoding(handle);
    std::erase_if(grown_, [&](const GrownTable& table) { return table.request == handle; });
  }
  release_blocks(request);
  request.computed = 0;
  await(request, request.target);
  running_.pop_back();
  waiting_.push_front(handle);
  preempted_.push_back(handle);
  preempted_any_ = true;
}

void Scheduler::publish_full_blocks(Request& request, std::int64_t computed) {
  if (!config_.prefix_caching) return;
  // What was computed behind older weights' keys and values would join a prefix that newer ones have computed.
  if (config_.reset_prefix_cache && request.weights != weights_) return;
  for (const auto full = static_cast<std::int32_t>(computed / config_.block_size); request.published < full;
       ++request.published) {
    pool_.publish(request.blocks[request.published], prefix_hash(request, request.published));
  }
}

// In reverse, so that the end of a prefix is evicted before its beginning.
void Scheduler::release_blocks(Request& request) {
  for (auto block = request.blocks.rbegin(); block != request.blocks.rend(); ++block) pool_.release(*block);
  request.blocks.clear();
  request.published = 0;
}

void Scheduler::on_new_weights() {
  ++weights_;
  config_.reset_prefix_cache ? pool_.forget_all() : pool_.mark_stale();
}

// Decode steps, this one included, for which free blocks suffice without preempting anybody. The blocks of this step
// are taken already.
std::int64_t Scheduler::steps_that_fit() const {
  const std::int64_t period = config_.block_size;
  std::int64_t free = pool_.free();
  std::int64_t steps = 1 + period * (free / decodes_);
  free %= decodes_;
  std::int64_t bucket = decode_clock_ % period;
  for (std::int64_t k = 1; k < period; ++k) {
    bucket = bucket + 1 < period ? bucket + 1 : 0;
    free -= std::ssize(buckets_[bucket]);
    if (free < 0) break;
    ++steps;
  }
  return steps;
}

// The prompt that waits for memory goes on behind what a request decodes: with every block of that it has less to
// compute, and may fit.
bool Scheduler::waits_for_an_answer() const {
  if (waiting_.empty() || running() == config_.max_num_seqs || !config_.prefix_caching) return false;
  const std::uint64_t content = requests_[waiting_.front().value()].content.content_id;
  return std::ranges::any_of(
      running_, [&](RequestHandle handle) { return requests_[handle.value()].content.content_id == content; });
}

// Decode steps until one needs a block, this one included.
std::int64_t Scheduler::steps_without_blocks() const {
  const std::int64_t period = config_.block_size;
  std::int64_t steps = 1;
  while (steps < period && buckets_[(decode_clock_ + steps) % period].empty()) ++steps;
  return steps;
}

void Scheduler::catch_up(std::int64_t steps) {
  check(planned_ && steps >= steps_begun_, "steps of a run are counted upwards");
  for (; steps_begun_ < steps; ++steps_begun_) {
    ++decode_clock_;
    for (const RequestHandle handle : bucket_now()) {
      const bool fits = allocate_for_decode(handle);
      check(fits && preempted_.empty(), "a run ends before blocks run out");
    }
  }
}

void Scheduler::commit() {
  check(planned_, "commit() of a planned step");
  planned_ = false;
  ++decode_clock_;
  for (const PrefillWork& work : prefills_) {
    at(work.request).computed += work.chunk.tokens;
    if (work.last) start_decoding(work.request);
  }
  prefills_.clear();
}

void Scheduler::drop_planned() {
  check(planned_ && prefills_.empty() && decodes_ == 0, "only a step without requests is dropped");
  planned_ = false;
}

void Scheduler::end(std::span<const RequestHandle> ended) {
  for (const RequestHandle handle : ended) {
    Request& request = at(handle);
    if (request.state == State::kDecoding) {
      publish_full_blocks(request, computed_tokens(request));
      stop_decoding(handle);
      running_.erase(std::find(running_.begin(), running_.end(), handle));
      release_blocks(request);
    } else {
      // Preempted by a step that was planned before this request's last token was known to be its last.
      check(request.state == State::kWaiting, "a request that computes its prompt does not end");
      waiting_.erase(std::find(waiting_.begin(), waiting_.end(), handle));
      waiting_tokens_ -= request.to_compute;
      if (!preempted_told_) std::erase(preempted_, handle);
    }
  }
}

void Scheduler::start_decoding(RequestHandle handle) {
  Request& request = at(handle);
  request.decode_offset = request.computed - decode_clock_;
  request.state = State::kDecoding;
  ++decodes_;
  bucket_of(request).push_back(handle);
}

void Scheduler::stop_decoding(RequestHandle handle) {
  Request& request = at(handle);
  std::vector<RequestHandle>& bucket = bucket_of(request);
  bucket.erase(std::find(bucket.begin(), bucket.end(), handle));
  --decodes_;
  request.state = State::kWaiting;
}

// A decoding request needs a block when computed = offset + clock is a multiple of the block size.
std::vector<RequestHandle>& Scheduler::bucket_of(const Request& request) {
  const std::int64_t period = config_.block_size;
  const std::int64_t phase = (-request.decode_offset) % period;
  return buckets_[phase < 0 ? phase + period : phase];
}

std::vector<RequestHandle>& Scheduler::bucket_now() { return buckets_[decode_clock_ % config_.block_size]; }

}  // namespace alchemist

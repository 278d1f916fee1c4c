// Paged KV memory of one replica: blocks with reference counts, a least-recently-used list of free blocks, and a prefix
// cache that maps the hash of a block's whole prefix to a block that holds it. Follows vLLM v1's BlockPool: a free
// block keeps its content, and can be hit, until it is allocated again. After construction the pool allocates no
// memory.
//
// A simulated day takes and gives back tens of millions of blocks, in an order that no cache foresees. So a block is
// small, what every block goes through is inline, and the next block's memory is asked for ahead of its use. Blocks
// that hold nothing, which records and training take and give back by the thousand, are a stack before that list.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sim/base/check.h"
#include "sim/base/ids.h"
#include "sim/node/prefix_reuse.h"

namespace alchemist {

// Hash of all tokens up to and including a block.
using PrefixHash = std::uint64_t;

class BlockPool {
 public:
  // `blocks` >= 1.
  explicit BlockPool(std::int32_t blocks);

  std::int32_t total() const { return static_cast<std::int32_t>(blocks_.size()); }
  std::int32_t free() const { return free_; }      // cached ones included
  std::int32_t cached() const { return cached_; }  // free ones that hold a prefix
  std::int32_t used() const { return total() - free_; }
  bool is_free(BlockId block) const { return states_[block.value()].references == 0; }

  // A block that holds this prefix, whoever else uses it: of several the one that was published first, as in vLLM.
  std::optional<BlockId> find(PrefixHash hash) const;
  // Takes one reference to a block found; a free one leaves the free list.
  void share(BlockId block);
  // Takes the least recently used free block, whose old content is forgotten. Precondition: free() > 0.
  BlockId allocate();
  // The `count` least recently used free blocks, behind what is in `to`. Precondition: free() >= count.
  void allocate(std::int32_t count, std::vector<BlockId>& to);
  // The block now holds exactly this prefix. A block is published at most once for each allocation.
  void publish(BlockId block, PrefixHash hash);
  // Gives one reference back. With the last one the block becomes the most recently used free block.
  void release(BlockId block);
  // As release() of each, for content that nobody can hit: the last one is the next to be allocated, and so on
  // backwards. Precondition: nobody else holds them.
  void release_first(std::span<const BlockId> blocks);

  // The weights have changed. What is cached now is what older weights made of it, and stays.
  void mark_stale() { ++weights_; }
  // A block that holds a prefix as older weights made it.
  bool is_stale(BlockId block) const { return blocks_[block.value()].weights != weights_; }
  // The weights have changed, and nothing that older ones made is to be hit again; O(blocks). Blocks in use stay their
  // holders', but no longer hold a prefix.
  void forget_all();

  // From now on spare() and are_missed() know what the prefix cache makes use of, at the price of some memory.
  void watch_reuse() { reuse_.emplace(total()); }
  // An allocate() for this prefix follows, because find() knew no block. False if it never was here, or long ago.
  bool note_missed(PrefixHash hash) { return reuse_ && reuse_->on_missed(hash); }
  // A prompt is admitted of which so many blocks are computed.
  void note_computed(std::int32_t blocks) {
    if (reuse_) reuse_->on_computed(blocks);
  }
  // True if more than `share` more of the prompts would be computed because others hold `held` blocks and take `more`.
  // As long as that is not known, if these would not be blank ones.
  bool are_missed(std::int32_t held, std::int32_t more, double share) const {
    if (!reuse_ || !reuse_->knows()) return more > free_ - cached_;
    return reuse_->lost_share(free_ - more, free_ + held) > share;
  }
  // Free blocks that hold no prefix, or, where that is known, are more than the prefix cache makes use of
  // (prefix_reuse.h). Negative: it could use so many more than are free.
  std::int32_t spare() const { return free_ - (reuse_ && reuse_->knows() ? reuse_->worth_keeping() : cached_); }

  // Checks the pool's whole structure in O(blocks): free list and counts agree, every hash is found. For tests.
  void check_consistency() const;

 private:
  static constexpr std::int32_t kNone = -1;
  // Apart from the block: all that most of them are asked for, and so small that it stays in the cache.
  struct State {
    std::uint32_t references : 31 = 0;
    std::uint32_t published : 1 = 0;
  };
  struct Block {
    PrefixHash hash = 0;
    std::int32_t newer = kNone;  // neighbours in the list of free blocks that have held a prefix or could have
    std::int32_t older = kNone;
    std::int32_t next_in_bucket = kNone;  // valid if published
    std::uint32_t freed_at = 0;           // if published, free and watched: PrefixReuse's time
    std::uint32_t weights = 0;            // if published: as of when
  };

  void unlink_free(std::int32_t index);
  void link_newest(std::int32_t index);
  std::int32_t take_oldest();
  void forget(std::int32_t index);
  void prefetch_oldest() const;
  std::int32_t& bucket(PrefixHash hash) { return buckets_[hash & (buckets_.size() - 1)]; }

  std::vector<State> states_;
  std::vector<Block> blocks_;
  std::vector<std::int32_t> buckets_;  // heads of the hash chains; a power of two of them
  std::vector<std::int32_t> blank_;    // free blocks that hold nothing and are taken first, the last one next
  std::int32_t oldest_ = kNone;
  std::int32_t newest_ = kNone;
  std::int32_t free_ = 0;
  std::int32_t cached_ = 0;
  std::uint32_t weights_ = 0;  // how often they have changed
  std::optional<PrefixReuse> reuse_;
};

inline std::optional<BlockId> BlockPool::find(PrefixHash hash) const {
  std::optional<BlockId> first;  // the later ones come before it
  for (std::int32_t i = buckets_[hash & (buckets_.size() - 1)]; i != kNone; i = blocks_[i].next_in_bucket) {
    if (blocks_[i].hash == hash) first = BlockId(static_cast<std::uint32_t>(i));
  }
  return first;
}

inline void BlockPool::share(BlockId block) {
  const auto index = static_cast<std::int32_t>(block.value());
  if (states_[index].references++ != 0) return;
  if (reuse_) reuse_->on_hit(blocks_[index].freed_at);
  unlink_free(index);
}

inline BlockId BlockPool::allocate() {
  check(free_ > 0, "allocate() needs a free block");
  std::int32_t index;
  if (blank_.empty()) {
    index = take_oldest();
  } else {
    index = blank_.back();
    blank_.pop_back();
    --free_;
  }
  states_[index].references = 1;
  return BlockId(static_cast<std::uint32_t>(index));
}

inline std::int32_t BlockPool::take_oldest() {
  const std::int32_t index = oldest_;
  unlink_free(index);
  prefetch_oldest();
  if (reuse_ && states_[index].published) reuse_->on_taken(blocks_[index].hash, blocks_[index].freed_at);
  forget(index);
  return index;
}

inline void BlockPool::publish(BlockId block, PrefixHash hash) {
  State& state = states_[block.value()];
  check(state.references > 0 && !state.published, "only a block in use is published, and once");
  state.published = 1;
  Block& b = blocks_[block.value()];
  b.hash = hash;
  b.weights = weights_;
  std::int32_t& head = bucket(hash);
  b.next_in_bucket = head;
  head = static_cast<std::int32_t>(block.value());
}

inline void BlockPool::release(BlockId block) {
  State& state = states_[block.value()];
  check(state.references > 0, "release() of a block that nobody holds");
  if (--state.references == 0) link_newest(static_cast<std::int32_t>(block.value()));
}

inline void BlockPool::unlink_free(std::int32_t index) {
  Block& b = blocks_[index];
  (b.older == kNone ? oldest_ : blocks_[b.older].newer) = b.newer;
  (b.newer == kNone ? newest_ : blocks_[b.newer].older) = b.older;
  b.older = b.newer = kNone;
  --free_;
  cached_ -= states_[index].published;
}

inline void BlockPool::link_newest(std::int32_t index) {
  Block& b = blocks_[index];
  b.older = newest_;
  b.newer = kNone;
  (newest_ == kNone ? oldest_ : blocks_[newest_].newer) = index;
  newest_ = index;
  ++free_;
  cached_ += states_[index].published;
  if (reuse_ && states_[index].published) b.freed_at = reuse_->on_freed();
}

inline void BlockPool::forget(std::int32_t index) {
  if (!states_[index].published) return;
  states_[index].published = 0;
  const Block& block = blocks_[index];
  std::int32_t* link = &bucket(block.hash);
  while (*link != index) link = &blocks_[*link].next_in_bucket;
  *link = block.next_in_bucket;
}

// What the next allocate() will touch: the bucket of the block that is the oldest now, and the one that will be.
inline void BlockPool::prefetch_oldest() const {
  if (oldest_ == kNone) return;
  const Block& next = blocks_[oldest_];
  __builtin_prefetch(&buckets_[next.hash & (buckets_.size() - 1)]);
  if (next.newer != kNone) __builtin_prefetch(&blocks_[next.newer]);
}

}  // namespace alchemist

// Paged KV memory of one replica: blocks with reference counts, a least-recently-used list of free blocks, and a prefix
// cache that maps the hash of a block's whole prefix to a block that holds it. Follows vLLM v1's BlockPool: a free
// block keeps its content, and can be hit, until it is allocated again. No call allocates memory after construction.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/base/ids.h"

namespace alchemist {

// Hash of all tokens up to and including a block.
using PrefixHash = std::uint64_t;

class BlockPool {
 public:
  // `blocks` >= 1.
  explicit BlockPool(std::int32_t blocks);

  std::int32_t total() const { return static_cast<std::int32_t>(blocks_.size()); }
  std::int32_t free() const { return free_; }  // cached ones included
  std::int32_t used() const { return total() - free_; }
  bool is_free(BlockId block) const { return blocks_[block.value()].references == 0; }

  // A block that holds this prefix, whoever else uses it.
  std::optional<BlockId> find(PrefixHash hash) const;
  // Takes one reference to a block found; a free one leaves the free list.
  void share(BlockId block);
  // Takes the least recently used free block, whose old content is forgotten. Precondition: free() > 0.
  BlockId allocate();
  // The block now holds exactly this prefix. A block is published at most once for each allocation.
  void publish(BlockId block, PrefixHash hash);
  // Gives one reference back. With the last one the block becomes the most recently used free block.
  void release(BlockId block);
  // As release(), for content that nobody can hit: the block is the next to be allocated.
  void release_first(BlockId block);

  // Checks the pool's whole structure in O(blocks): free list and counts agree, every hash is found. For tests.
  void check_consistency() const;

 private:
  static constexpr std::int32_t kNone = -1;
  struct Block {
    PrefixHash hash = 0;
    std::int32_t references = 0;
    std::int32_t newer = kNone;  // neighbours in the free list
    std::int32_t older = kNone;
    std::int32_t next_in_bucket = kNone;
    bool published = false;
  };

  void unlink_free(std::int32_t index);
  void link_newest(std::int32_t index);
  void link_oldest(std::int32_t index);
  void forget(std::int32_t index);
  std::int32_t& bucket(PrefixHash hash) { return buckets_[hash & (buckets_.size() - 1)]; }

  std::vector<Block> blocks_;
  std::vector<std::int32_t> buckets_;  // heads of the hash chains; a power of two of them
  std::int32_t oldest_ = kNone;
  std::int32_t newest_ = kNone;
  std::int32_t free_ = 0;
};

}  // namespace alchemist

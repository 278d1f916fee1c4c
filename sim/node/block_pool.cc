#include "sim/node/block_pool.h"

#include <bit>

#include "sim/base/check.h"

namespace alchemist {

BlockPool::BlockPool(std::int32_t blocks) {
  check(blocks >= 1, "a block pool has at least one block");
  blocks_.resize(static_cast<std::size_t>(blocks));
  buckets_.assign(std::bit_ceil(static_cast<std::size_t>(blocks) * 2), kNone);
  for (std::int32_t i = 0; i < blocks; ++i) link_newest(i);
}

std::optional<BlockId> BlockPool::find(PrefixHash hash) const {
  for (std::int32_t i = buckets_[hash & (buckets_.size() - 1)]; i != kNone; i = blocks_[i].next_in_bucket) {
    if (blocks_[i].hash == hash) return BlockId(static_cast<std::uint32_t>(i));
  }
  return std::nullopt;
}

void BlockPool::share(BlockId block) {
  const auto index = static_cast<std::int32_t>(block.value());
  if (blocks_[index].references++ == 0) unlink_free(index);
}

BlockId BlockPool::allocate() {
  check(free_ > 0, "allocate() needs a free block");
  const std::int32_t index = oldest_;
  unlink_free(index);
  forget(index);
  blocks_[index].references = 1;
  return BlockId(static_cast<std::uint32_t>(index));
}

void BlockPool::publish(BlockId block, PrefixHash hash) {
  Block& b = blocks_[block.value()];
  check(b.references > 0 && !b.published, "only a block in use is published, and once");
  b.hash = hash;
  b.published = true;
  std::int32_t& head = bucket(hash);
  b.next_in_bucket = head;
  head = static_cast<std::int32_t>(block.value());
}

void BlockPool::release(BlockId block) {
  Block& b = blocks_[block.value()];
  check(b.references > 0, "release() of a block that nobody holds");
  if (--b.references == 0) link_newest(static_cast<std::int32_t>(block.value()));
}

void BlockPool::release_first(BlockId block) {
  Block& b = blocks_[block.value()];
  check(b.references == 1, "release_first() is for a block with one holder");
  b.references = 0;
  forget(static_cast<std::int32_t>(block.value()));
  link_oldest(static_cast<std::int32_t>(block.value()));
}

void BlockPool::unlink_free(std::int32_t index) {
  Block& b = blocks_[index];
  (b.older == kNone ? oldest_ : blocks_[b.older].newer) = b.newer;
  (b.newer == kNone ? newest_ : blocks_[b.newer].older) = b.older;
  b.older = b.newer = kNone;
  --free_;
}

void BlockPool::link_newest(std::int32_t index) {
  Block& b = blocks_[index];
  b.older = newest_;
  b.newer = kNone;
  (newest_ == kNone ? oldest_ : blocks_[newest_].newer) = index;
  newest_ = index;
  ++free_;
}

void BlockPool::link_oldest(std::int32_t index) {
  Block& b = blocks_[index];
  b.newer = oldest_;
  b.older = kNone;
  (oldest_ == kNone ? newest_ : blocks_[oldest_].older) = index;
  oldest_ = index;
  ++free_;
}

void BlockPool::forget(std::int32_t index) {
  Block& b = blocks_[index];
  if (!b.published) return;
  std::int32_t* link = &bucket(b.hash);
  while (*link != index) link = &blocks_[*link].next_in_bucket;
  *link = b.next_in_bucket;
  b.next_in_bucket = kNone;
  b.published = false;
}

void BlockPool::check_consistency() const {
  std::int32_t listed = 0;
  std::int32_t previous = kNone;
  for (std::int32_t i = oldest_; i != kNone; i = blocks_[i].newer) {
    check(blocks_[i].references == 0, "a block on the free list has no holder");
    check(blocks_[i].older == previous, "the free list is linked both ways");
    previous = i;
    ++listed;
  }
  check(listed == free_ && previous == newest_, "the free list has as many blocks as counted");
  std::int32_t unheld = 0;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i].references == 0) ++unheld;
    if (blocks_[i].published) check(find(blocks_[i].hash).has_value(), "a published block is found");
  }
  check(unheld == free_, "every block without holder is free");
}

}  // namespace alchemist

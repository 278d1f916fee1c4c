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

// Training takes and gives back thousands at a time: the list is cut and joined once, not once a block.
void BlockPool::allocate(std::int32_t count, std::vector<BlockId>& to) {
  check(free_ >= count, "allocate() needs free blocks");
  std::int32_t index = oldest_;
  const std::size_t held = to.size();
  to.resize(held + static_cast<std::size_t>(count));
  for (std::size_t i = held; i < to.size(); ++i) {
    Block& block = blocks_[index];
    if (block.published()) {
      --cached_;
      forget(block);
    }
    block.references = 1;
    to[i] = BlockId(static_cast<std::uint32_t>(index));
    index = block.newer;
  }
  free_ -= count;
  oldest_ = index;
  (index == kNone ? newest_ : blocks_[index].older) = kNone;
}

void BlockPool::release_first(std::span<const BlockId> blocks) {
  for (const BlockId id : blocks) {
    const auto index = static_cast<std::int32_t>(id.value());
    Block& block = blocks_[index];
    check(block.references == 1, "release_first() is for a block with one holder");
    block.references = 0;
    forget(block);
    block.newer = oldest_;
    (oldest_ == kNone ? newest_ : blocks_[oldest_].older) = index;
    oldest_ = index;
  }
  if (!blocks.empty()) blocks_[oldest_].older = kNone;
  free_ += static_cast<std::int32_t>(blocks.size());
}

void BlockPool::check_consistency() const {
  std::int32_t listed = 0;
  std::int32_t cached = 0;
  std::int32_t previous = kNone;
  for (std::int32_t i = oldest_; i != kNone; i = blocks_[i].newer) {
    check(blocks_[i].references == 0, "a block on the free list has no holder");
    check(blocks_[i].older == previous, "the free list is linked both ways");
    previous = i;
    ++listed;
    cached += blocks_[i].published() ? 1 : 0;
  }
  check(listed == free_ && previous == newest_, "the free list has as many blocks as counted");
  check(cached == cached_, "free blocks that hold a prefix are counted");
  std::int32_t unheld = 0;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i].references == 0) ++unheld;
    if (blocks_[i].published()) check(find(blocks_[i].hash).has_value(), "a published block is found");
  }
  check(unheld == free_, "every block without holder is free");
}

}  // namespace alchemist

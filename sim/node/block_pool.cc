#include "sim/node/block_pool.h"

#include <algorithm>
#include <bit>

#include "sim/base/check.h"

namespace alchemist {

BlockPool::BlockPool(std::int32_t blocks) {
  check(blocks >= 1, "a block pool has at least one block");
  blocks_.resize(static_cast<std::size_t>(blocks));
  states_.resize(blocks_.size());
  buckets_.assign(std::bit_ceil(static_cast<std::size_t>(blocks) * 2), kNone);
  blank_.reserve(blocks_.size());
  for (std::int32_t i = blocks; i-- > 0;) blank_.push_back(i);
  free_ = blocks;
}

void BlockPool::allocate(std::int32_t count, std::vector<BlockId>& to) {
  check(free_ >= count, "allocate() needs free blocks");
  const std::size_t held = to.size(), end = held + static_cast<std::size_t>(std::max(count, 0));
  const std::size_t blank = std::min(blank_.size(), end - held);
  to.resize(end);
  const std::span taken = std::span(blank_).last(blank);
  std::transform(taken.rbegin(), taken.rend(), to.begin() + static_cast<std::ptrdiff_t>(held), [this](auto index) {
    states_[index] = {1, 0};
    return BlockId(static_cast<std::uint32_t>(index));
  });
  blank_.resize(blank_.size() - blank);
  free_ -= static_cast<std::int32_t>(blank);
  for (std::size_t i = held + blank; i < end; ++i) {
    const std::int32_t index = take_oldest();
    states_[index].references = 1;
    to[i] = BlockId(static_cast<std::uint32_t>(index));
  }
}

void BlockPool::release_first(std::span<const BlockId> blocks) {
  const std::size_t before = blank_.size();
  blank_.resize(before + blocks.size());
  std::ranges::transform(blocks, blank_.begin() + static_cast<std::ptrdiff_t>(before), [this](BlockId id) {
    const auto index = static_cast<std::int32_t>(id.value());
    check(states_[index].references == 1, "release_first() is for a block with one holder");
    forget(index);
    states_[index] = {};
    return index;
  });
  free_ += static_cast<std::int32_t>(blocks.size());
}

void BlockPool::forget_all() {
  for (State& state : states_) state.published = 0;
  std::ranges::fill(buckets_, kNone);
  cached_ = 0;
  if (reuse_) reuse_->forget_taken();
}

void BlockPool::check_consistency() const {
  std::int32_t listed = static_cast<std::int32_t>(blank_.size());
  std::int32_t cached = 0;
  for (const std::int32_t i : blank_) check(!states_[i].published, "a blank block holds nothing");
  std::int32_t previous = kNone;
  for (std::int32_t i = oldest_; i != kNone; i = blocks_[i].newer) {
    check(states_[i].references == 0, "a block on the free list has no holder");
    check(blocks_[i].older == previous, "the free list is linked both ways");
    previous = i;
    ++listed;
    cached += states_[i].published;
  }
  check(listed == free_ && previous == newest_, "the free list has as many blocks as counted");
  check(cached == cached_, "free blocks that hold a prefix are counted");
  std::int32_t unheld = 0;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (states_[i].references == 0) ++unheld;
    if (states_[i].published) check(find(blocks_[i].hash).has_value(), "a published block is found");
  }
  check(unheld == free_, "every block without holder is free");
}

}  // namespace alchemist

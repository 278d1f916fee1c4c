// How much memory the prefix cache makes use of: how far back its hits go. A free block is hit as long as nothing else
// has taken it, and those that came free first are taken first; so a hit on a block needs a cache at least as large as
// the number of blocks that came free after it. Blocks that have been taken are remembered for as long again, so that
// what a larger cache would have hit counts as well, and memory that others have taken can be found to be missed (the
// reuse distances of Mattson et al., 1970, by time of release; a block that is hit and released again counts twice in
// between, so the answer is on the safe side).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace alchemist {

class PrefixReuse {
 public:
  // Of a cache of at most `blocks` blocks.
  explicit PrefixReuse(std::int32_t blocks);

  // A block that holds a prefix has come free. When that was, for the calls below.
  std::uint32_t on_freed() {
    knows_ = knows_ || freed_ + 1 == blocks_;
    return freed_++;
  }
  // It is in use again, for its prefix.
  void on_hit(std::uint32_t freed_at) { observe(std::min(distance_since(freed_at), blocks_)); }
  // It was taken for something else.
  void on_taken(std::uint64_t prefix, std::uint32_t freed_at);
  // Somebody looked for a prefix in vain. True if a block that was taken had held it; that is forgotten with this call.
  bool on_missed(std::uint64_t prefix);
  // What the cache held is worth nothing any more, however large it were.
  void forget_taken() { std::ranges::fill(taken_, Taken()); }

  // True once as many blocks have come free as there are: until then a cache of all of them would not have been full.
  bool knows() const { return knows_; }
  // Blocks of cache that nearly all of the late hits, and of those that a cache of all blocks would have had, are
  // within. Zero if there were none.
  std::int32_t worth_keeping() const { return worth_keeping_; }

 private:
  // Four classes for each doubling of the distance.
  static constexpr int kClassesPerDoubling = 4;
  static constexpr std::size_t kClasses = 32 * kClassesPerDoubling;
  struct Taken {
    std::uint64_t prefix = 0;
    std::uint32_t freed_at = 0;
    bool valid = false;
  };

  std::uint32_t distance_since(std::uint32_t freed_at) const { return std::max<std::uint32_t>(1, freed_ - freed_at); }
  void observe(std::uint32_t distance);
  void update();
  Taken& taken(std::uint64_t prefix) { return taken_[prefix & (taken_.size() - 1)]; }

  std::uint32_t blocks_;
  bool knows_ = false;
  std::uint32_t freed_ = 0;              // blocks so far; differences are right beyond 2^32, too
  std::vector<Taken> taken_;             // by prefix; a later one of the same place replaces the earlier
  std::array<double, kClasses> hits_{};  // by distance, fading
  double weight_ = 0;                    // of all hits
  std::uint32_t hits_seen_ = 0;
  std::int32_t worth_keeping_ = 0;
};

}  // namespace alchemist

// How much memory the prefix cache makes use of: how far back its hits go. A free block is hit as long as nothing else
// has taken it, and those that came free first are taken first; so a hit needs a cache as large as the number of blocks
// that came free after the one that is hit and have not been used again since (Mattson et al., 1970). Observed is how
// many came free at all in between, its reuse time; from the distribution of these follows how many of them are still
// free (Hu et al., "Kinetic Modeling of Data Eviction in Cache", 2016): of the blocks that came free t releases ago
// those whose reuse time is longer than t. Blocks that have been taken are remembered for as long again, so that what a
// larger cache would have hit counts as well, and memory that others have taken can be found to be missed.
//
// What is not hit is computed, so the price of a smaller cache is told as a share of the prompts that are computed.
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
  void on_hit(std::uint32_t freed_at) { observe(time_since(freed_at)); }
  // It was taken for something else.
  void on_taken(std::uint64_t prefix, std::uint32_t freed_at);
  // Somebody looked for a prefix in vain. True if a block that was taken had held it; that is forgotten with this call.
  bool on_missed(std::uint64_t prefix);
  // A prompt begins of which so many blocks are computed, whatever the cache could have held.
  void on_computed(std::int32_t blocks) { computed_ += blocks; }
  // What the cache held is worth nothing any more, however large it were.
  void forget_taken() { std::ranges::fill(taken_, Taken()); }

  // True once as many blocks have come free as there are: until then a cache of all of them would not have been full.
  bool knows() const { return knows_; }
  // Blocks of cache that nearly all of the late hits, and of those that a cache of all blocks would have had, are
  // within. Zero if there were none.
  std::int32_t worth_keeping() const { return worth_keeping_; }
  // How many more blocks of prompts are computed, of each that is now, with a cache of `smaller` blocks in place of one
  // of `larger`: the late hits that are within the one and not within the other.
  double lost_share(std::int32_t smaller, std::int32_t larger) const;

 private:
  // Classes of reuse times: 16 for each doubling, equally wide.
  static constexpr int kBitsOfClass = 4;
  static constexpr std::size_t kClasses = (32 - kBitsOfClass + 1) << kBitsOfClass;
  struct Taken {
    std::uint64_t prefix = 0;
    std::uint32_t freed_at = 0;
    bool valid = false;
  };
  // Of the hits up to the end of a class.
  struct Within {
    double blocks = 0;  // of cache that they need
    double hits = 0;
  };

  std::uint32_t time_since(std::uint32_t freed_at) const { return std::max<std::uint32_t>(1, freed_ - freed_at); }
  static std::size_t class_of(std::uint32_t time);
  static std::uint32_t last_time(std::size_t of_class);
  void observe(std::uint32_t time);
  void update();
  double hits_within(double blocks) const;
  Taken& taken(std::uint64_t prefix) { return taken_[prefix & (taken_.size() - 1)]; }

  std::uint32_t blocks_;
  bool knows_ = false;
  std::uint32_t freed_ = 0;   // blocks so far; differences are right beyond 2^32, too
  std::vector<Taken> taken_;  // by prefix; a later one of the same place replaces the earlier
  // Of late: when there are many hits, all of these are halved.
  std::array<double, kClasses> hits_{};  // by reuse time
  double weight_ = 0;                    // of all hits
  double computed_ = 0;                  // blocks
  double freed_before_ = 0;              // blocks, up to when these were halved last,
  std::uint32_t halved_at_ = 0;          // when so many had come free
  std::uint32_t hits_seen_ = 0;
  std::array<Within, kClasses> within_{};  // as of the latest update
  std::size_t classes_ = 0;                // of them, those up to the longest reuse time
  std::int32_t worth_keeping_ = 0;
};

}  // namespace alchemist

#include "sim/node/prefix_reuse.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace alchemist {

PrefixReuse::PrefixReuse(std::int32_t blocks) : blocks_(static_cast<std::uint32_t>(blocks)) {
  taken_.resize(std::bit_ceil(static_cast<std::size_t>(blocks) * 2));
}

void PrefixReuse::on_taken(std::uint64_t prefix, std::uint32_t freed_at) { taken(prefix) = {prefix, freed_at, true}; }

bool PrefixReuse::on_missed(std::uint64_t prefix) {
  Taken& was = taken(prefix);
  if (!was.valid || was.prefix != prefix) return false;
  was.valid = false;
  observe(time_since(was.freed_at));
  return true;
}

// Short times have a class each, of longer ones the first binary digits tell.
std::size_t PrefixReuse::class_of(std::uint32_t time) {
  const int dropped = std::max(0, static_cast<int>(std::bit_width(time)) - 1 - kBitsOfClass);
  return (static_cast<std::size_t>(dropped) << kBitsOfClass) + (time >> dropped);
}

std::uint32_t PrefixReuse::last_time(std::size_t of_class) {
  constexpr std::size_t kInDoubling = std::size_t{1} << kBitsOfClass;
  if (of_class < 2 * kInDoubling) return static_cast<std::uint32_t>(of_class);
  const std::size_t dropped = of_class / kInDoubling - 1;
  return static_cast<std::uint32_t>(((of_class % kInDoubling + kInDoubling + 1) << dropped) - 1);
}

void PrefixReuse::observe(std::uint32_t time) {
  constexpr double kMemory = 1 << 16;  // hits on blocks; then the past fades
  constexpr std::uint32_t kBetweenUpdates = 256;
  const std::size_t of = class_of(time);
  classes_ = std::max(classes_, of + 1);
  hits_[of] += 1;
  weight_ += 1;
  const bool fades = weight_ >= kMemory;
  if (fades) {
    weight_ /= 2;
    computed_ /= 2;
    for (double& hits : hits_) hits /= 2;
    freed_before_ = (freed_before_ + static_cast<double>(freed_ - halved_at_)) / 2;
    halved_at_ = freed_;
  }
  if (hits_seen_++ % kBetweenUpdates == 0 || fades) update();
}

void PrefixReuse::update() {
  constexpr double kMissed = 0.01;  // of the hits
  const double freed = std::max(weight_, freed_before_ + static_cast<double>(freed_ - halved_at_));
  Within within;
  double time = 0;
  for (std::size_t i = 0; i < classes_; ++i) {
    const double end = last_time(i);
    const double still_free = 1 - (within.hits + hits_[i] / 2) / freed;
    within.blocks += (end - time) * still_free;
    within.hits += hits_[i];
    within_[i] = within;
    time = end;
  }
  const double worth = (1 - kMissed) * hits_within(blocks_);
  const auto end = within_.begin() + static_cast<std::ptrdiff_t>(classes_);
  const auto last = std::partition_point(within_.begin(), end, [worth](const Within& w) { return w.hits < worth; });
  const double edge = last == end ? 0 : std::ceil(last->blocks);
  worth_keeping_ = worth > 0 ? static_cast<std::int32_t>(std::min<double>(blocks_, edge)) : 0;
}

// Within a class they are spread evenly.
double PrefixReuse::hits_within(double blocks) const {
  const auto end = within_.begin() + static_cast<std::ptrdiff_t>(classes_);
  const auto at = std::partition_point(within_.begin(), end, [blocks](const Within& w) { return w.blocks <= blocks; });
  const Within before = at == within_.begin() ? Within() : *std::prev(at);
  if (at == end || blocks <= before.blocks) return before.hits;
  return before.hits + (at->hits - before.hits) * (blocks - before.blocks) / (at->blocks - before.blocks);
}

double PrefixReuse::lost_share(std::int32_t smaller, std::int32_t larger) const {
  if (computed_ <= 0) return 0;
  return std::max(0.0, hits_within(larger) - hits_within(smaller)) / computed_;
}

}  // namespace alchemist

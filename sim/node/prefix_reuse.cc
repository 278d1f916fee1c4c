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
  const std::uint32_t distance = distance_since(was.freed_at);
  if (distance <= blocks_) observe(distance);  // else no cache would have kept it
  return true;
}

void PrefixReuse::observe(std::uint32_t distance) {
  constexpr double kMemory = 1 << 16;  // hits on blocks; then the past fades
  constexpr std::uint32_t kBetweenUpdates = 256;
  const auto of = static_cast<std::size_t>(kClassesPerDoubling * std::log2(static_cast<double>(distance)));
  hits_[std::min(of, kClasses - 1)] += 1;
  weight_ += 1;
  if (weight_ >= kMemory) {
    weight_ /= 2;
    for (double& hits : hits_) hits /= 2;
  }
  if (hits_seen_++ % kBetweenUpdates == 0) update();
}

void PrefixReuse::update() {
  constexpr double kMissed = 0.01;  // of the hits
  double beyond = 0;
  std::size_t least = kClasses;  // classes that are worth keeping
  while (least > 0 && beyond + hits_[least - 1] <= kMissed * weight_) beyond += hits_[--least];
  const double edge = std::exp2(static_cast<double>(least) / kClassesPerDoubling);
  worth_keeping_ = least == 0 ? 0 : static_cast<std::int32_t>(std::min<double>(blocks_, std::ceil(edge)));
}

}  // namespace alchemist

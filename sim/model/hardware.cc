#include "sim/model/hardware.h"

#include <algorithm>
#include <cmath>

#include "sim/base/check.h"

namespace alchemist {

double copy_bandwidth(const HardwareSpec& hardware, LinkDirection direction) {
  const double pinned =
      direction == LinkDirection::kHostToDevice ? hardware.link_h2d_bandwidth : hardware.link_d2h_bandwidth;
  return hardware.host_memory_pinned ? pinned : std::min(pinned, hardware.link_pageable_bandwidth);
}

HardwareSpec share_of(const HardwareSpec& hardware, double share) {
  check(share > 0 && share <= 1 && hardware.bandwidth_saturation > 0, "a share of the SMs");
  HardwareSpec part = hardware;
  part.matrix_flops *= share;
  part.vector_flops *= share;
  part.processors = std::max<std::int64_t>(1, std::llround(static_cast<double>(hardware.processors) * share));
  part.memory_bandwidth *= std::min(1.0, share / hardware.bandwidth_saturation);
  return part;
}

}  // namespace alchemist

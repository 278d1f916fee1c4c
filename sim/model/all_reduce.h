// Time of adding up equal arrays of several GPUs of one server so that each has the sum.
#pragma once

#include "sim/model/hardware.h"

namespace alchemist {

// A ring: every GPU sends and receives 2 (n - 1) / n of its array (Patarasuk and Yuan, "Bandwidth optimal all-reduce
// algorithms for clusters of workstations", 2009). `bytes`: of each GPU's array. None for one GPU.
inline double all_reduce_seconds(const HardwareSpec& hardware, std::int64_t gpus, double bytes) {
  if (gpus <= 1) return 0;
  const auto n = static_cast<double>(gpus);
  return 2 * (n - 1) / n * bytes / hardware.interconnect_bandwidth + hardware.interconnect_latency.in_seconds();
}

}  // namespace alchemist

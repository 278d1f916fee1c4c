// Time of collectives between several GPUs of one server: rings.
#pragma once

#include "sim/model/hardware.h"

namespace alchemist {

// Adding up equal arrays so that each GPU has the sum: it sends and receives 2 (n - 1) / n of its array (Patarasuk and
// Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009). `bytes`: of each GPU's array.
// None for one GPU.
inline double all_reduce_seconds(const HardwareSpec& hardware, std::int64_t gpus, double bytes) {
  if (gpus <= 1) return 0;
  const auto n = static_cast<double>(gpus);
  return 2 * (n - 1) / n * bytes / hardware.interconnect_bandwidth + hardware.interconnect_latency.in_seconds();
}

// Putting together what each GPU has a part of, so that each has the whole: it receives (n - 1) / n of it. `bytes`: of
// the whole. None for one GPU.
inline double all_gather_seconds(const HardwareSpec& hardware, std::int64_t gpus, double bytes) {
  if (gpus <= 1) return 0;
  const auto n = static_cast<double>(gpus);
  return (n - 1) / n * bytes / hardware.interconnect_bandwidth + hardware.interconnect_latency.in_seconds();
}

}  // namespace alchemist

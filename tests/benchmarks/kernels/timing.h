// Times work on a device by its own clock (see DeviceMemory::time()): batches of runs, each long enough that its ends
// do not count.
#pragma once

#include <functional>

#include "kernels/device.h"

namespace alchemist::benchmarks {

struct Times {
  double median_s = 0;  // of one run
  double p10_s = 0;
  double p90_s = 0;
};

// How long a measurement may take.
struct Effort {
  double batch_s = 3e-3;
  int batches = 15;
};

// `run(i)` queues run number i; runs may rotate over several sets of inputs so that none stays in a cache.
Times time_runs(DeviceMemory& device, const Effort& effort, const std::function<void(int)>& run);

// The same for work that cannot be repeated: `prepare`, queued before each run, is not timed.
Times time_each(DeviceMemory& device, const Effort& effort, const std::function<void()>& prepare,
                const std::function<void()>& run);

}  // namespace alchemist::benchmarks

#include "tests/benchmarks/kernels/timing.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace alchemist::benchmarks {
namespace {

Times quantiles(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  const auto last = static_cast<double>(times.size() - 1);
  const auto at = [&](double share) { return times[static_cast<std::size_t>(share * last + 0.5)]; };
  return {at(0.5), at(0.1), at(0.9)};
}

}  // namespace

Times time_runs(DeviceMemory& device, const Effort& effort, const std::function<void(int)>& run) {
  int number = 0;
  const auto seconds = [&](int runs) {
    return device.time([&] {
      for (int i = 0; i < runs; ++i) run(number++);
    });
  };
  seconds(3);  // modules are loaded, clocks rise
  int runs = 1;
  for (double taken = seconds(1); taken < effort.batch_s && runs < 100000; taken = seconds(runs)) {
    const double wanted = runs * effort.batch_s / std::max(taken, 1e-9);
    runs = std::max(runs + 1, static_cast<int>(std::min(std::ceil(wanted), 10.0 * runs)));
  }
  std::vector<double> times;
  for (int batch = 0; batch < effort.batches; ++batch) times.push_back(seconds(runs) / runs);
  return quantiles(std::move(times));
}

Times time_each(DeviceMemory& device, const Effort& effort, const std::function<void()>& prepare,
                const std::function<void()>& run) {
  std::vector<double> times;
  for (int i = -1; i < effort.batches; ++i) {
    prepare();
    const double seconds = device.time(run);
    if (i >= 0) times.push_back(seconds);  // the first run warms up
  }
  return quantiles(std::move(times));
}

}  // namespace alchemist::benchmarks

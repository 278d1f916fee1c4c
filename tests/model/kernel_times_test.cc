#include "sim/model/kernel_times.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "sim/base/random.h"
#include "sim/model/all_reduce.h"

namespace alchemist {
namespace {

HardwareSpec four_gpus() {
  HardwareSpec hardware;
  hardware.memory_bandwidth = 1e12;
  hardware.memory_efficiency = 0.8;
  hardware.matrix_flops = 2e14;
  hardware.matrix_efficiency = 0.7;
  hardware.attention_efficiency = 0.5;
  hardware.vector_flops = 2e13;
  hardware.kernel_overhead = Duration::microseconds(2);
  hardware.interconnect_bandwidth = 2e11;
  hardware.interconnect_latency = Duration::microseconds(5);
  return hardware;
}

// The definition, kernel by kernel.
double seconds_by_definition(const std::vector<Kernel>& kernels, const HardwareSpec& h, double tokens, double keys) {
  double sum = 0;
  for (const Kernel& kernel : kernels) {
    const Work& w = kernel.work;
    const double matrix = w.matrix_flops_per_token * tokens / (h.matrix_flops * h.matrix_efficiency) +
                          w.matrix_flops_per_key * keys / (h.matrix_flops * h.attention_efficiency);
    const double vector = (w.vector_flops_per_token * tokens + w.vector_flops_per_key * keys) / h.vector_flops;
    const double memory = (w.weight_bytes + w.bytes_per_token * tokens) / (h.memory_bandwidth * h.memory_efficiency);
    const double alone = std::max({matrix, vector, memory});
    const double reduced = w.reduced_bytes_per_token * tokens;
    sum += reduced > 0 ? std::max(alone, all_reduce_seconds(h, 4, reduced)) : alone + h.kernel_overhead.in_seconds();
  }
  return sum;
}

TEST(KernelTimes, IsTheRooflineOfEachKernel) {
  RandomStream random(11, "kernels");
  const HardwareSpec hardware = four_gpus();
  const auto sometimes = [&](double scale) { return random.uniform() < 0.5 ? 0 : scale * random.uniform(); };
  for (int round = 0; round < 200; ++round) {
    std::vector<Kernel> kernels(static_cast<std::size_t>(random.uniform_int(1, 12)));
    for (Kernel& kernel : kernels) {
      kernel.work.matrix_flops_per_token = sometimes(1e8);
      kernel.work.matrix_flops_per_key = sometimes(1e4);
      kernel.work.vector_flops_per_token = sometimes(1e5);
      kernel.work.vector_flops_per_key = sometimes(200);
      kernel.work.weight_bytes = sometimes(2e8);
      kernel.work.bytes_per_token = sometimes(1e5);
      kernel.work.reduced_bytes_per_token = random.uniform() < 0.2 ? 1e4 * random.uniform() : 0;
    }
    const KernelTimes times(kernels, hardware, 4);
    double traffic = 0;
    for (const Kernel& kernel : kernels) traffic += kernel.work.weight_bytes + kernel.work.bytes_per_token * 77;
    EXPECT_NEAR(times.traffic_bytes(77), traffic, 1e-9 * traffic);
    for (const double tokens : {1.0, 130.0, 2'048.0, 100'000.0}) {
      for (const double keys : {tokens, tokens * 700}) {
        const double expected = seconds_by_definition(kernels, hardware, tokens, keys);
        EXPECT_NEAR(times.seconds(tokens, keys), expected, 1e-9 * expected);
      }
    }
  }
}

}  // namespace
}  // namespace alchemist

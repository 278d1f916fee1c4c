#include "sim/model/kernel_times.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "sim/base/random.h"
#include "sim/model/all_reduce.h"
#include "sim/model/roofline_cost.h"

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

// 640 tokens by 512 columns are 5 * 4 tiles of 128 x 128: three waves of 8 processors, as 24 would be. A tile of inner
// dimension 1024 takes 2 * 128 * 128 * 1024 FLOPs at 1.4e14 a second; serving's products are priced the same.
TEST(KernelTimes, ProductsArePaidInWholeWaves) {
  HardwareSpec hardware = four_gpus();
  hardware.processors = 8;
  Kernel kernel{.name = "linear", .matrix_product = true, .product_columns = 512};
  kernel.work.matrix_flops_per_token = 2.0 * 1024 * 512;
  kernel.work.weight_bytes = 2.0 * 1024 * 512;
  kernel.work.bytes_per_token = 2.0 * (1024 + 512);
  const KernelTimes times({kernel}, hardware, 1);
  EXPECT_NEAR(times.seconds(640, 0), 24 * 2.0 * 128 * 128 * 1024 / 1.4e14 + 2e-6, 1e-15);
  EXPECT_EQ(times.seconds(513, 0), times.seconds(640, 0));
  // Of one row the matrix is read all the same: 2 * (1024 * 512 + 1024 + 512) bytes at 8e11 a second take 1.3 us, a
  // row of four tiles 0.96 us, for all of which there are processors.
  for (const double tokens : {1.0, 128.0, 129.0, 640.0, 5'000.0}) {
    EXPECT_NEAR(times.seconds(tokens, 0), matrix_product_seconds(hardware, tokens, 1024, 512, 2) + 2e-6, 1e-15);
  }
}

}  // namespace
}  // namespace alchemist

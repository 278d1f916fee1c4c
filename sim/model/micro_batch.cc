#include "sim/model/micro_batch.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "sim/model/layer_costs.h"

namespace alchemist {

std::int64_t usual_micro_batch_tokens(const HardwareSpec& hardware, const ModelShape& model,
                                      const TrainingShape& training, std::int64_t tensor_parallel) {
  constexpr std::int64_t kLeast = 2048, kMost = 1 << 16;
  constexpr double kLonger = 4;  // than the reading
  const Work layer = layer_costs(build_layer_graph(model, training, tensor_parallel)).forward.work();
  const double reading = layer.weight_bytes / (hardware.memory_bandwidth * hardware.memory_efficiency);
  const double a_token = layer.matrix_flops_per_token / (hardware.matrix_flops * hardware.matrix_efficiency);
  const double tokens = std::min(std::ceil(kLonger * reading / a_token), static_cast<double>(kMost));
  return std::max(kLeast, static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(tokens))));
}

}  // namespace alchemist

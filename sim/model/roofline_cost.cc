#include "sim/model/roofline_cost.h"

#include <algorithm>

#include "sim/base/check.h"
#include "sim/model/all_reduce.h"
#include "sim/model/expert_share.h"
#include "sim/model/kernel_times.h"
#include "sim/model/layer_costs.h"
#include "sim/model/matrix_tiles.h"

namespace alchemist {

namespace {
// Kernels of one layer: two norms with their residual additions, q/k/v, rotary, cache write, attention, output,
// gate/up, activation, down.
constexpr double kKernelsPerLayer = 10;
// And of a mixture of experts: router, choice, order of the tokens by expert, sum of a token's experts.
constexpr double kKernelsOfExperts = 4;

KernelTimes forward_times(const HardwareSpec& hardware, const ModelShape& model, const TrainingShape& training,
                          std::int32_t tensor_parallel) {
  const LayerCosts costs = layer_costs(build_layer_graph(model, training, tensor_parallel));
  return KernelTimes(costs.forward.kernels, hardware, tensor_parallel);
}
}  // namespace

double matrix_product_seconds(const HardwareSpec& hardware, double rows, double inner, double columns,
                              double element_bytes) {
  const auto processors = static_cast<double>(hardware.processors);
  const double tile_flops = 2 * kTile * kTile * inner;
  const double rate = hardware.matrix_flops * hardware.matrix_efficiency;
  const double padded_flops = tile_flops * padded_tiles(tiles_along(rows) * tiles_along(columns), processors);
  const double bytes = element_bytes * (rows * inner + inner * columns + rows * columns);
  return std::max(padded_flops / rate, bytes / (hardware.memory_bandwidth * hardware.memory_efficiency));
}

double RooflineCost::expert_product_seconds(double tokens, double inner, double columns) const {
  const double rows = tokens * static_cast<double>(model_.experts_per_token);
  const double weights =
      inner * columns * static_cast<double>(model_.experts) * reached_share(model_.expert_share(), tokens);
  const double bytes = static_cast<double>(model_.dtype_bytes) * (weights + rows * (inner + columns));
  const double rate = hardware_.matrix_flops * hardware_.matrix_efficiency;
  return std::max(2 * rows * inner * columns / rate, bytes / bandwidth_);
}

// What reads the MLP's input: gate and up, of a mixture of experts behind its router.
double RooflineCost::gate_up_seconds(double tokens) const {
  const auto hidden = static_cast<double>(model_.hidden), columns = static_cast<double>(2 * model_.intermediate);
  const auto element = static_cast<double>(model_.dtype_bytes);
  if (model_.experts == 0) return matrix_product_seconds(hardware_, tokens, hidden, columns, element);
  return matrix_product_seconds(hardware_, tokens, hidden, static_cast<double>(model_.experts), element) +
         expert_product_seconds(tokens, hidden, columns);
}

double RooflineCost::down_seconds(double tokens) const {
  const auto inner = static_cast<double>(model_.intermediate), hidden = static_cast<double>(model_.hidden);
  if (model_.experts > 0) return expert_product_seconds(tokens, inner, hidden);
  return matrix_product_seconds(hardware_, tokens, inner, hidden, static_cast<double>(model_.dtype_bytes));
}

RooflineCost::RooflineCost(const HardwareSpec& hardware, const ModelShape& model, std::int32_t tensor_parallel,
                           std::int32_t max_tokens, bool async_scheduling, const std::optional<TrainingShape>& adapters)
    : hardware_(hardware),
      model_(gpu_shard(model, tensor_parallel)),
      tensor_parallel_(tensor_parallel),
      async_scheduling_(async_scheduling),
      q_width_(static_cast<double>(model_.q_width())),
      kv_bytes_(static_cast<double>(2 * model_.kv_width() * model_.dtype_bytes)),
      bandwidth_(hardware.memory_bandwidth * hardware.memory_efficiency),
      attention_flops_(hardware.matrix_flops * hardware.attention_efficiency) {
  check(tensor_parallel >= 1 && max_tokens >= 1, "sizes are positive");
  KernelTimes layer, frozen_layer;  // forward
  if (adapters) {
    layer = forward_times(hardware, model, *adapters, tensor_parallel);
    TrainingShape frozen = *adapters;
    frozen.lora_modules.clear();
    frozen_layer = forward_times(hardware, model, frozen, tensor_parallel);
  }
  dense_by_tokens_.reserve(static_cast<std::size_t>(max_tokens) + 1);
  head_by_sequences_.reserve(static_cast<std::size_t>(max_tokens) + 1);
  for (std::int32_t tokens = 0; tokens <= max_tokens; ++tokens) {
    dense_by_tokens_.push_back(dense_seconds(tokens));
    if (adapters && tokens > 0) {
      dense_by_tokens_.back() +=
          static_cast<double>(model.layers) * (layer.seconds(tokens, 0) - frozen_layer.seconds(tokens, 0));
    }
    head_by_sequences_.push_back(head_seconds(tokens));
  }
}

// Everything of the layers but attention, for `tokens` tokens.
double RooflineCost::dense_seconds(double tokens) const {
  if (tokens == 0) return 0;
  const auto hidden = static_cast<double>(model_.hidden);
  const auto element = static_cast<double>(model_.dtype_bytes);
  const auto qkv = static_cast<double>(model_.q_width() + 2 * model_.kv_width());
  const auto attention_out = static_cast<double>(model_.q_width());
  const double products = matrix_product_seconds(hardware_, tokens, hidden, qkv, element) +
                          matrix_product_seconds(hardware_, tokens, attention_out, hidden, element) +
                          gate_up_seconds(tokens) + down_seconds(tokens);
  // Elementwise operators: two norms with residual (read x and residual, write both), rotary (read and write q and k,
  // write k and v to the cache), activation (read gate and up, write the product), sum of experts (read theirs, write
  // it).
  const double summed = model_.experts == 0 ? 0 : static_cast<double>(model_.experts_per_token + 1) * hidden;
  const double elements = tokens * (2 * 4 * hidden + 2 * qkv + 3 * static_cast<double>(model_.mlp_width()) + summed);
  const double elementwise = elements * element / bandwidth_;
  const double kernels = kKernelsPerLayer + (model_.experts == 0 ? 0 : kKernelsOfExperts);
  const double launches = kernels * hardware_.kernel_overhead.in_seconds();
  return static_cast<double>(model_.layers) * (products + elementwise + launches + all_reduce_seconds(tokens));
}

double RooflineCost::all_reduce_seconds(double tokens) const {
  const double bytes = tokens * static_cast<double>(model_.hidden * model_.dtype_bytes);
  return 2 * alchemist::all_reduce_seconds(hardware_, tensor_parallel_, bytes);
}

double RooflineCost::head_seconds(double sequences) const {
  if (sequences == 0) return 0;
  return matrix_product_seconds(hardware_, sequences, static_cast<double>(model_.hidden),
                                static_cast<double>(model_.vocabulary), static_cast<double>(model_.dtype_bytes)) +
         hardware_.kernel_overhead.in_seconds();
}

double RooflineCost::attention_seconds(const BatchShape& shape) const {
  double seconds = static_cast<double>(shape.decode_context_sum) * kv_bytes_ / bandwidth_;
  for (const PrefillChunk& chunk : shape.prefills) {
    const double tokens = chunk.tokens, context = chunk.context;
    // Scores and weighted values: 2 products of 2 FLOPs over the keys at or before each query.
    const double flops = 4 * q_width_ * (tokens * context + tokens * (tokens + 1) / 2);
    const double bytes = (tokens + context) * kv_bytes_;
    seconds += std::max(flops / attention_flops_, bytes / bandwidth_);
  }
  return static_cast<double>(model_.layers) * seconds;
}

Duration RooflineCost::step(const BatchShape& shape) const {
  const auto tokens = static_cast<std::size_t>(shape.tokens());
  check(tokens < dense_by_tokens_.size(), "a step stays within the token budget");
  const double gpu =
      dense_by_tokens_[tokens] + attention_seconds(shape) + head_by_sequences_[static_cast<std::size_t>(shape.sampled)];
  return with_host_time(gpu, hardware_.step_overhead, async_scheduling_);
}

}  // namespace alchemist

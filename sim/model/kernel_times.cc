#include "sim/model/kernel_times.h"

#include <algorithm>

#include "sim/model/all_reduce.h"
#include "sim/model/matrix_tiles.h"

namespace alchemist {

KernelTimes::KernelTimes(const std::vector<Kernel>& kernels, const HardwareSpec& hardware, std::int64_t tensor_parallel)
    : processors_(static_cast<double>(hardware.processors)) {
  const double products = hardware.matrix_flops * hardware.matrix_efficiency;
  const double attention = hardware.matrix_flops * hardware.attention_efficiency;
  const double bandwidth = hardware.memory_bandwidth * hardware.memory_efficiency;
  for (const Kernel& kernel : kernels) {
    const Work& work = kernel.work;
    const bool experts = kernel.token_share < 1;
    (experts ? expert_bytes_ : weight_bytes_) += work.weight_bytes;
    token_share_ = std::min(token_share_, kernel.token_share);
    bytes_per_token_ += work.bytes_per_token;
    std::vector<Line> bounds = {
        {work.weight_bytes / bandwidth, work.bytes_per_token / bandwidth, 0},
        {0, work.matrix_flops_per_token / products, work.matrix_flops_per_key / attention},
        {0, work.vector_flops_per_token / hardware.vector_flops, work.vector_flops_per_key / hardware.vector_flops}};
    if (work.reduced_bytes_per_token > 0) {
      const double latency = alchemist::all_reduce_seconds(hardware, tensor_parallel, 0);
      const double a_token =
          alchemist::all_reduce_seconds(hardware, tensor_parallel, work.reduced_bytes_per_token) - latency;
      all_reduces_.fixed += latency;
      all_reduces_.per_token += a_token;
      bounds.push_back({latency, a_token, 0});
    } else {
      sum_.fixed += hardware.kernel_overhead.in_seconds();
    }
    Bound product;
    if (kernel.product_columns > 0) {
      const auto columns = static_cast<double>(kernel.product_columns);
      product.line = {0, work.matrix_flops_per_token / products, 0};  // at least
      product.tiles_across = tiles_along(columns);
      product.tile_seconds = kTile * kTile / columns * product.line.per_token;
    }
    if (experts) {
      for (const Line& line : bounds) bounds_.push_back({.line = line, .token_share = kernel.token_share});
      bounds_.back().last = true;
    } else {
      add(bounds, product);
    }
  }
}

// Leaves out what another bound of the kernel is never below.
void KernelTimes::add(std::span<const Line> bounds, const Bound& product) {
  std::vector<Line> kept;
  for (const Line& line : bounds) {
    const auto covered_by = [&](const Line& other) { return line.never_above(other); };
    if (std::ranges::any_of(kept, covered_by)) continue;
    std::erase_if(kept, [&](const Line& other) { return other.never_above(line); });
    kept.push_back(line);
  }
  if (product.tiles_across > 0) {
    std::erase_if(kept, [&](const Line& line) { return line.never_above(product.line); });
    for (const Line& line : kept) bounds_.push_back({.line = line});
    bounds_.push_back(product);
    bounds_.back().last = true;
    return;
  }
  if (kept.size() == 1) {
    sum_.fixed += kept.front().fixed;
    sum_.per_token += kept.front().per_token;
    sum_.per_key += kept.front().per_key;
    return;
  }
  for (const Line& line : kept) bounds_.push_back({.line = line});
  bounds_.back().last = true;
}

double KernelTimes::at(const Bound& bound, double tokens, double keys, double tiles_down) const {
  if (bound.token_share < 1) {
    const double unread = bound.line.fixed * (1 - reached_share(bound.token_share, tokens));
    return bound.line.at(tokens, keys) - unread;
  }
  if (bound.tiles_across == 0) return bound.line.at(tokens, keys);
  return bound.tile_seconds * padded_tiles(tiles_down * bound.tiles_across, processors_);
}

double KernelTimes::seconds(double tokens, double keys) const {
  double sum = sum_.at(tokens, keys);
  const double tiles_down = tiles_along(tokens);
  double longest = 0;
  for (const Bound& bound : bounds_) {
    longest = std::max(longest, at(bound, tokens, keys, tiles_down));
    if (!bound.last) continue;
    sum += longest;
    longest = 0;
  }
  return sum;
}

}  // namespace alchemist

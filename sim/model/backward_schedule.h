// The order in which a layer's backward uses what was kept: which tensors to bring back first, which to let go first,
// and how much memory it works in meanwhile.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/model/layer_graph.h"

namespace alchemist {

struct BackwardSchedule {
  // Backward operators in their order, each preceded by the forward operators that rebuild what it reads and nobody has
  // rebuilt before. Where the layer's input is rebuilt from below, what the layer above needs comes first.
  std::vector<OperatorId> operators;
  // The kept tensors that are used at all, by first use (the order to reload in) and by last use (the order to free
  // in). Equal uses stand in forward order.
  std::vector<TensorId> reload_order;
  std::vector<TensorId> release_order;
  // Largest sum over the schedule of rebuilt tensors and gradients alive at once, kept tensors not counted; a tensor
  // lives from its first producer to its last reader, in one piece for all the tokens.
  std::int64_t peak_working_bytes_per_token = 0;
};

// Precondition: `kept` are forward tensors.
BackwardSchedule backward_schedule(const LayerGraph& graph, std::span<const TensorId> kept);

// The launches of such a backward, with those that rebuild.
std::vector<Kernel> backward_kernels(const LayerGraph& graph, std::span<const TensorId> kept);

}  // namespace alchemist

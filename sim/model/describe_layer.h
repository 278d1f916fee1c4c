// What the layer graph says about a model, as text for people.
#pragma once

#include <string>

#include "sim/model/model_shape.h"
#include "sim/model/training_shape.h"

namespace alchemist {

// Tables of the operators (FLOPs, bytes, forward and backward), the tensors (shape, bytes, where prefill leaves them,
// who reads them in backward, FLOPs a byte to rebuild), the record sets and what rebuilding the rest takes, totals of
// the layer and the model, the orders of reload and release, the critical paths, and the cheapest set to keep by
// balance of the machine. Of one of `tensor_parallel` GPUs. Ends in a newline.
std::string describe_layer_graph(const ModelShape& shape, const TrainingShape& training,
                                 std::int64_t tensor_parallel = 1);

}  // namespace alchemist

// Which forward tensors a layer's backward needs, which of them are worth keeping, and what it takes to rebuild the
// rest from those that were kept.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/bytes.h"
#include "sim/model/layer_graph.h"

namespace alchemist {

// What must run again so that backward finds all it needs, or a part of that.
struct RebuildPlan {
  std::vector<OperatorId> operators;  // in the order of execution
  std::vector<Kernel> kernels;        // the launches they take
  Work work;                          // sum of the kernels
  bool matrix_products = false;       // a product with weights, or attention, is among them
  // The layer's input is required but not kept: the layer below must produce its output too, and so on down to a layer
  // whose input is kept, or to the embedding. `operators` then contains all that this layer's own output takes, because
  // the layer above may ask for it in the same way.
  bool from_below = false;
};

// Forward tensors of one layer to keep, and the price of the others.
struct RecordSet {
  std::string name;
  std::vector<TensorId> tensors;  // in the order in which the forward makes them
  Bytes bytes_per_token;          // a layer
  Bytes split_bytes_per_token;    // the same, of the tensors that several GPUs hold whole each its part alone
  Bytes cached_bytes_per_token;   // of these: in the KV cache anyway
  RebuildPlan rebuild;
};

// Forward tensors that some backward operator reads: what a framework keeps.
std::vector<TensorId> needed_tensors(const LayerGraph& graph);

// The needed ones without those that element-wise operators, or an adapter's narrow product (rank columns beside
// thousands), rebuild from the remaining ones at almost no cost. Unique: a tensor has one producer.
std::vector<TensorId> minimal_tensors(const LayerGraph& graph);

// The minimal ones without gate and up, the widest tensors, which two products rebuild.
std::vector<TensorId> lean_tensors(const LayerGraph& graph);

Bytes bytes_per_token(const LayerGraph& graph, std::span<const TensorId> tensors);
// Where of each tensor that several GPUs hold whole (TensorSpec::copies) every one keeps an equal part.
Bytes split_bytes_per_token(const LayerGraph& graph, std::span<const TensorId> tensors);

// The inputs of the gated activation.
std::vector<TensorId> gate_and_up(const LayerGraph& graph);

// What makes `wanted` from `kept`; without `wanted`, all that backward needs. Precondition: both are forward tensors.
RebuildPlan rebuild_plan(const LayerGraph& graph, std::span<const TensorId> kept, std::span<const TensorId> wanted);
RebuildPlan rebuild_plan(const LayerGraph& graph, std::span<const TensorId> kept);

RecordSet make_record_set(const LayerGraph& graph, std::string name, std::vector<TensorId> tensors);

// The named sets, from the smallest kept to the largest:
//   none     nothing: the whole forward runs again
//   kv       keys (after rotation) and values: what the cache holds
//   input    the layer's input: gradient checkpointing
//   lean     minimal without gate and up
//   minimal  see minimal_tensors()
//   all      see needed_tensors()
std::vector<RecordSet> named_record_sets(const LayerGraph& graph);
std::optional<RecordSet> find_record_set(const LayerGraph& graph, std::string_view name);

// FLOPs to rebuild one tensor once it is dropped from `kept`, for each of its bytes, when a token attends to `keys`
// keys on average. Precondition: `tensor` is among `kept`.
double rebuild_flops_per_byte(const LayerGraph& graph, std::span<const TensorId> kept, TensorId tensor, double keys);

}  // namespace alchemist

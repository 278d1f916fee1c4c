// One decoder layer, forward and backward, as a directed bipartite graph of operators and tensors. Derived from the
// declarations of layer_spec.h: which gradients are needed at all, which backward operators make them, and what those
// read. Everything else about a layer (costs, record sets, orders) is computed from this graph.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/ids.h"
#include "sim/model/layer_spec.h"

namespace alchemist {

using TensorId = Id<struct TensorTag>;      // index into LayerGraph::tensors
using OperatorId = Id<struct OperatorTag>;  // index into LayerGraph::operators

enum class Phase { kForward, kBackward };

// Where serving's prefill leaves a forward tensor.
enum class ServingOrigin {
  kCached,       // in the KV cache, as long as the cache keeps the block
  kTransient,    // in device memory until the next layer overwrites it
  kInRegisters,  // known inside a kernel only; a recording kernel must write it out
};

struct Tensor {
  TensorSpec spec;
  std::optional<TensorId> gradient_of;  // the forward tensor whose gradient this is
  std::vector<OperatorId> producers;    // none: comes from outside the layer; several: they accumulate (gradients only)
  std::vector<OperatorId> readers;
  bool requires_gradient = false;  // forward tensors: something trained depends on it

  std::int64_t bytes_per_token() const { return spec.bytes_per_token(); }
};

struct Operator {
  std::string name;
  OperatorKind kind = OperatorKind::kLinear;
  Phase phase = Phase::kForward;
  std::string kernel;
  std::vector<TensorId> inputs;
  std::vector<TensorId> outputs;
  Work work;                          // without the traffic of tensors: kernel_work() adds it
  std::int64_t parameters = 0;        // forward: weights it holds; backward: weights whose gradient it makes
  bool trained = false;               // forward: its parameters get a gradient
  std::optional<OperatorId> forward;  // backward: the operator it differentiates
  bool view = false;                  // passes its only input on, whose storage its outputs share, and does nothing
  std::string rebuild_kernel;         // forward: as in OperatorSpec
  double token_share = 1;             // as in OperatorSpec
  std::int64_t gradient_gpus = 1;     // forward: GPUs that hold its parameters and each make a part of their gradient

  bool all_reduce() const { return work.reduced_bytes_per_token > 0; }  // in place
};

struct LayerGraph {
  std::vector<Tensor> tensors;
  std::vector<Operator> operators;  // in an order of execution: forward, then backward
  TensorId input;                   // x: the output of the layer below
  TensorId output;                  // y: the input of the layer above

  const Tensor& operator[](TensorId id) const { return tensors[id.value()]; }
  const Operator& operator[](OperatorId id) const { return operators[id.value()]; }
  std::vector<OperatorId> operators_of(Phase phase) const;
  std::optional<TensorId> find_tensor(std::string_view name) const;
  std::optional<OperatorId> find_operator(std::string_view name) const;
};

// Of one of `tensor_parallel` GPUs, see declare_layer().
LayerGraph build_layer_graph(const ModelShape& shape, const TrainingShape& training, std::int64_t tensor_parallel = 1);

// The same from declarations, which must name every tensor they read before they read it (checked), each once.
LayerGraph derive_layer_graph(const LayerSpec& spec);

// One launch: operators that run as one, under the name they share.
struct Kernel {
  std::string name;
  bool matrix_product = false;  // a product with weights, or attention, is among its operators
  bool adapter = false;         // all of its operators are of adapters
  // Of a product of all tokens with large weights: width of what it makes, a token. 0: the kernel is no such product.
  std::int64_t product_columns = 0;
  double token_share = 1;  // of its weights that one token needs: < 1 if they are experts', chosen evenly
  Work work;               // tensor traffic included
};

// The launches of these operators, run in this order; views need none. Operators of one kernel read what they share
// once and write only what somebody outside the kernel reads; a gradient that a kernel adds to is read and written.
// With backward operators among them, forward ones run in their rebuild_kernel if they have one.
std::vector<Kernel> kernels_of(const LayerGraph& graph, std::span<const OperatorId> operators);

// Sum of the work of kernels_of().
Work kernel_work(const LayerGraph& graph, std::span<const OperatorId> operators);

// Where prefill leaves a forward tensor of the graph. Derived: cached is what the cache write reads, in registers what
// no forward operator outside the producer's kernel reads.
ServingOrigin serving_origin(const LayerGraph& graph, TensorId tensor);

// A longest path under a time for each operator: no schedule of these operators on any number of streams is shorter.
struct CriticalPath {
  double seconds = 0;
  std::vector<OperatorId> operators;
};
CriticalPath critical_path(const LayerGraph& graph, Phase phase, const std::function<double(OperatorId)>& seconds);

// Graphviz text: boxes are operators, ellipses tensors with bytes a token, dashed edges what backward reads of forward.
std::string layer_graph_dot(const LayerGraph& graph, const std::string& title);

}  // namespace alchemist

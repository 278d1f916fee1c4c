#include "sim/model/layer_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/graph/topological_sort.hpp>
#include <set>
#include <unordered_map>

#include "sim/base/check.h"
#include "sim/model/dependency_graph.h"

namespace alchemist {
namespace {

class GraphBuilder {
 public:
  explicit GraphBuilder(const LayerSpec& spec) : spec_(spec) {}

  LayerGraph build() {
    graph_.input = add_tensor(spec_.input);
    tensor(graph_.input).requires_gradient = spec_.input_gradient;
    for (const OperatorSpec& op : spec_.operators) add_forward(op);
    graph_.output = find(spec_.output);
    if (tensor(graph_.output).requires_gradient) gradient_of(graph_.output);
    for (std::size_t i = spec_.operators.size(); i-- > 0;) add_backward(OperatorId(static_cast<std::uint32_t>(i)));
    return std::move(graph_);
  }

 private:
  Tensor& tensor(TensorId id) { return graph_.tensors[id.value()]; }

  TensorId find(const std::string& name) const {
    const auto it = ids_.find(name);
    check(it != ids_.end(), "a layer declares every tensor before it is read");
    return it->second;
  }

  TensorId add_tensor(const TensorSpec& spec) {
    const TensorId id(static_cast<std::uint32_t>(graph_.tensors.size()));
    check(ids_.emplace(spec.name, id).second, "a layer declares every tensor once");
    graph_.tensors.push_back({spec, {}, {}, {}, false});
    return id;
  }

  void add_operator(Operator op) {
    const OperatorId id(static_cast<std::uint32_t>(graph_.operators.size()));
    for (const TensorId input : op.inputs) tensor(input).readers.push_back(id);
    for (const TensorId output : op.outputs) tensor(output).producers.push_back(id);
    graph_.operators.push_back(std::move(op));
  }

  void add_forward(const OperatorSpec& spec) {
    Operator op{.name = spec.name,
                .kind = spec.kind,
                .phase = Phase::kForward,
                .kernel = spec.kernel,
                .inputs = {},
                .outputs = {},
                .work = spec.work,
                .parameters = spec.parameters,
                .trained = spec.trained,
                .forward = {},
                .view = spec.view,
                .rebuild_kernel = spec.rebuild_kernel,
                .token_share = spec.token_share,
                .gradient_gpus = spec.gradient_gpus};
    bool requires_gradient = spec.trained;
    for (const std::string& name : spec.inputs) {
      op.inputs.push_back(find(name));
      requires_gradient = requires_gradient || tensor(op.inputs.back()).requires_gradient;
    }
    for (const TensorSpec& output : spec.outputs) {
      op.outputs.push_back(add_tensor(output));
      tensor(op.outputs.back()).requires_gradient = requires_gradient;
    }
    add_operator(std::move(op));
  }

  // The gradient's tensor, made when first asked for.
  TensorId gradient_of(TensorId of) {
    const std::string name = fmt::format("d.{}", tensor(of).spec.name);
    if (const auto it = ids_.find(name); it != ids_.end()) return it->second;
    TensorSpec spec = tensor(of).spec;
    spec.name = name;
    const TensorId id = add_tensor(spec);
    tensor(id).gradient_of = of;
    return id;
  }

  // The gradients of an operator's outputs that reach it. None: nothing trained depends on it, so it has no backward.
  std::vector<TensorId> arriving_gradients(OperatorId id) const {
    std::vector<TensorId> result;
    for (const TensorId output : graph_[id].outputs) {
      if (const auto it = ids_.find(fmt::format("d.{}", graph_[output].spec.name)); it != ids_.end())
        result.push_back(it->second);
    }
    return result;
  }

  void add_backward(OperatorId id) {
    const std::vector<TensorId> arriving = arriving_gradients(id);
    if (arriving.empty()) return;
    const OperatorSpec& spec = spec_.operators[id.value()];
    for (const GradientSpec& part : spec.gradients) {
      std::vector<TensorId> outputs;
      for (const std::string& name : part.of) {
        if (tensor(find(name)).requires_gradient) outputs.push_back(gradient_of(find(name)));
      }
      const bool of_parameters = part.of.empty();
      if (of_parameters ? !spec.trained : outputs.empty()) continue;
      Operator op{.name = spec.name + (of_parameters ? ".dw"
                                       : part.view   ? ".view"
                                                     : ".dx"),
                  .kind = spec.kind,
                  .phase = Phase::kBackward,
                  .kernel = part.kernel,
                  .inputs = arriving,
                  .outputs = outputs,
                  .work = part.work,
                  .parameters = of_parameters ? spec.parameters : 0,
                  .trained = false,
                  .forward = id,
                  .view = part.view,
                  .token_share = spec.token_share};
      for (const std::string& name : part.reads) op.inputs.push_back(find(name));
      add_operator(std::move(op));
    }
  }

  const LayerSpec& spec_;
  LayerGraph graph_;
  std::unordered_map<std::string, TensorId> ids_;
};

// Bytes a token that one kernel moves between its operators and device memory.
double kernel_traffic(const LayerGraph& graph, const std::vector<OperatorId>& kernel) {
  const std::set<OperatorId> members(kernel.begin(), kernel.end());
  const auto is_member = [&](OperatorId op) { return members.contains(op); };
  std::set<TensorId> reads, writes;
  for (const OperatorId id : kernel) {
    const OperatorId first = *std::find_if(kernel.begin(), kernel.end(),
                                           [&](OperatorId member) { return graph[member].phase == graph[id].phase; });
    for (const TensorId input : graph[id].inputs) {
      if (!writes.contains(input)) reads.insert(input);
    }
    for (const TensorId output : graph[id].outputs) {
      const Tensor& tensor = graph[output];
      const bool accumulates = std::any_of(tensor.producers.begin(), tensor.producers.end(), [&](OperatorId producer) {
        return !is_member(producer) && producer < first;
      });
      if (accumulates) reads.insert(output);
      writes.insert(output);
    }
  }
  double bytes = 0;
  for (const TensorId tensor : reads) bytes += static_cast<double>(graph[tensor].bytes_per_token());
  for (const TensorId id : writes) {
    const Tensor& tensor = graph[id];
    const bool leaves = tensor.readers.empty() || !std::all_of(tensor.readers.begin(), tensor.readers.end(), is_member);
    if (leaves) bytes += static_cast<double>(tensor.bytes_per_token());
  }
  return bytes;
}

// Gradients of weights have no row for each token, and the adapters' products are too thin for whole tiles.
std::int64_t product_columns(const LayerGraph& graph, const std::vector<OperatorId>& kernel) {
  std::set<TensorId> made;
  for (const OperatorId id : kernel) {
    if (graph[id].kind == OperatorKind::kLinear) made.insert(graph[id].outputs.begin(), graph[id].outputs.end());
  }
  std::int64_t columns = 0;
  for (const TensorId tensor : made) columns += graph[tensor].spec.elements();
  return columns;
}

}  // namespace

std::vector<OperatorId> LayerGraph::operators_of(Phase phase) const {
  std::vector<OperatorId> result;
  for (std::uint32_t i = 0; i < operators.size(); ++i) {
    if (operators[i].phase == phase) result.push_back(OperatorId(i));
  }
  return result;
}

std::optional<TensorId> LayerGraph::find_tensor(std::string_view name) const {
  for (std::uint32_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].spec.name == name) return TensorId(i);
  }
  return std::nullopt;
}

std::optional<OperatorId> LayerGraph::find_operator(std::string_view name) const {
  for (std::uint32_t i = 0; i < operators.size(); ++i) {
    if (operators[i].name == name) return OperatorId(i);
  }
  return std::nullopt;
}

LayerGraph derive_layer_graph(const LayerSpec& spec) { return GraphBuilder(spec).build(); }

LayerGraph build_layer_graph(const ModelShape& shape, const TrainingShape& training, std::int64_t tensor_parallel) {
  return derive_layer_graph(declare_layer(shape, training, tensor_parallel));
}

std::vector<Kernel> kernels_of(const LayerGraph& graph, std::span<const OperatorId> operators) {
  std::vector<Kernel> kernels;
  std::vector<std::vector<OperatorId>> members;
  const bool in_backward = std::any_of(operators.begin(), operators.end(),
                                       [&](OperatorId id) { return graph[id].phase == Phase::kBackward; });
  for (const OperatorId id : operators) {
    const Operator& op = graph[id];
    if (op.view) continue;
    const std::string& name = in_backward && !op.rebuild_kernel.empty() ? op.rebuild_kernel : op.kernel;
    auto it = std::find_if(kernels.begin(), kernels.end(), [&](const Kernel& k) { return k.name == name; });
    if (it == kernels.end()) {
      it = kernels.insert(kernels.end(), Kernel{.name = name, .adapter = true});
      members.emplace_back();
    }
    it->matrix_product = it->matrix_product || is_matrix_product(op.kind);
    it->adapter = it->adapter && is_of_adapter(op.kind);
    it->token_share = std::min(it->token_share, op.token_share);
    it->work += op.work;
    members[static_cast<std::size_t>(it - kernels.begin())].push_back(id);
  }
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    kernels[i].work.bytes_per_token += kernel_traffic(graph, members[i]);
    kernels[i].product_columns = product_columns(graph, members[i]);
  }
  return kernels;
}

Work kernel_work(const LayerGraph& graph, std::span<const OperatorId> operators) {
  Work total;
  for (const Kernel& kernel : kernels_of(graph, operators)) total += kernel.work;
  return total;
}

ServingOrigin serving_origin(const LayerGraph& graph, TensorId id) {
  const Tensor& tensor = graph[id];
  check(!tensor.gradient_of, "serving makes forward tensors only");
  bool leaves_kernel = tensor.producers.empty() || id == graph.output;
  for (const OperatorId reader : tensor.readers) {
    if (graph[reader].phase != Phase::kForward) continue;
    if (graph[reader].kind == OperatorKind::kCacheWrite) return ServingOrigin::kCached;
    leaves_kernel = leaves_kernel || graph[reader].kernel != graph[tensor.producers.front()].kernel;
  }
  return leaves_kernel ? ServingOrigin::kTransient : ServingOrigin::kInRegisters;
}

CriticalPath critical_path(const LayerGraph& graph, Phase phase, const std::function<double(OperatorId)>& seconds) {
  const DependencyGraph dependencies = dependency_graph(graph);
  std::vector<std::size_t> order;
  boost::topological_sort(dependencies, std::back_inserter(order));  // last first; throws boost::not_a_dag on a cycle
  std::reverse(order.begin(), order.end());

  std::vector<double> finish(order.size(), 0);
  std::vector<std::optional<std::size_t>> before(order.size());
  std::optional<std::size_t> last;
  for (const std::size_t vertex : order) {
    for (auto [edge, end] = boost::in_edges(vertex, dependencies); edge != end; ++edge) {
      const std::size_t source = boost::source(*edge, dependencies);
      if (before[vertex] && finish[source] <= finish[vertex]) continue;
      finish[vertex] = finish[source];
      before[vertex] = source;
    }
    if (vertex >= graph.operators.size() || graph.operators[vertex].phase != phase) continue;
    finish[vertex] += seconds(OperatorId(static_cast<std::uint32_t>(vertex)));
    if (!last || finish[vertex] > finish[*last]) last = vertex;
  }
  CriticalPath path;
  if (!last) return path;
  path.seconds = finish[*last];
  for (std::optional<std::size_t> vertex = last; vertex; vertex = before[*vertex]) {
    if (*vertex < graph.operators.size() && graph.operators[*vertex].phase == phase) {
      path.operators.push_back(OperatorId(static_cast<std::uint32_t>(*vertex)));
    }
  }
  std::reverse(path.operators.begin(), path.operators.end());
  return path;
}

}  // namespace alchemist

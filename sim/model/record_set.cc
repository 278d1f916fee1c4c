#include "sim/model/record_set.h"

#include <algorithm>
#include <boost/graph/depth_first_search.hpp>
#include <boost/graph/reverse_graph.hpp>

#include "sim/base/check.h"
#include "sim/model/dependency_graph.h"

namespace alchemist {
namespace {

template <class Predicate>
std::vector<TensorId> forward_tensors_where(const LayerGraph& graph, Predicate&& holds) {
  std::vector<TensorId> result;
  for (std::uint32_t i = 0; i < graph.tensors.size(); ++i) {
    if (!graph.tensors[i].gradient_of && holds(TensorId(i))) result.push_back(TensorId(i));
  }
  return result;
}

bool contains(std::span<const TensorId> tensors, TensorId tensor) {
  return std::find(tensors.begin(), tensors.end(), tensor) != tensors.end();
}

bool is_cheap(OperatorKind kind) { return is_elementwise(kind) || kind == OperatorKind::kAdapterDown; }

// A tensor is at hand at almost no cost if it is needed (then it is kept, or rebuilt cheaply in its turn) or made by
// cheap operators from tensors that are. Tensors and operators are numbered in forward order, so one pass suffices.
std::vector<TensorId> cheaply_rebuilt(const LayerGraph& graph, const std::vector<TensorId>& needed) {
  std::vector<bool> at_hand(graph.tensors.size(), false);
  for (const TensorId tensor : needed) at_hand[tensor.value()] = true;
  std::vector<TensorId> result;
  for (const OperatorId id : graph.operators_of(Phase::kForward)) {
    const Operator& op = graph[id];
    const bool inputs_at_hand =
        std::all_of(op.inputs.begin(), op.inputs.end(), [&](TensorId input) { return at_hand[input.value()]; });
    if (!is_cheap(op.kind) || !inputs_at_hand) continue;
    for (const TensorId output : op.outputs) {
      at_hand[output.value()] = true;
      result.push_back(output);
    }
  }
  return result;
}

std::vector<TensorId> without(const std::vector<TensorId>& tensors, const std::vector<TensorId>& dropped) {
  std::vector<TensorId> result;
  std::copy_if(tensors.begin(), tensors.end(), std::back_inserter(result),
               [&](TensorId tensor) { return !contains(dropped, tensor); });
  return result;
}

// Walks from what is demanded to what it is made from, stopping at kept tensors. Marks every vertex that is required.
class RequirementWalk {
 public:
  RequirementWalk(const LayerGraph& graph, std::span<const TensorId> kept)
      : graph_(graph),
        dependencies_(dependency_graph(graph)),
        is_kept_(boost::num_vertices(dependencies_), false),
        color_(boost::num_vertices(dependencies_), boost::white_color) {
    for (const TensorId tensor : kept) is_kept_[vertex_of(graph, tensor)] = true;
  }

  void demand(TensorId tensor) {
    const auto stop = [this](std::size_t vertex, const auto&) { return static_cast<bool>(is_kept_[vertex]); };
    const auto reversed = boost::make_reverse_graph(dependencies_);
    const std::size_t start = vertex_of(graph_, tensor);
    if (color_[start] != boost::white_color) return;
    boost::depth_first_visit(
        reversed, start, boost::dfs_visitor<>(),
        boost::make_iterator_property_map(color_.begin(), boost::get(boost::vertex_index, dependencies_)), stop);
  }

  bool required(OperatorId op) const { return color_[vertex_of(graph_, op)] != boost::white_color; }
  bool required(TensorId tensor) const { return color_[vertex_of(graph_, tensor)] != boost::white_color; }

 private:
  const LayerGraph& graph_;
  DependencyGraph dependencies_;
  std::vector<bool> is_kept_;
  std::vector<boost::default_color_type> color_;
};

}  // namespace

std::vector<TensorId> needed_tensors(const LayerGraph& graph) {
  return forward_tensors_where(graph, [&](TensorId tensor) {
    const auto& readers = graph[tensor].readers;
    return std::any_of(readers.begin(), readers.end(),
                       [&](OperatorId reader) { return graph[reader].phase == Phase::kBackward; });
  });
}

std::vector<TensorId> minimal_tensors(const LayerGraph& graph) {
  const std::vector<TensorId> needed = needed_tensors(graph);
  return without(needed, cheaply_rebuilt(graph, needed));
}

std::vector<TensorId> gate_and_up(const LayerGraph& graph) {
  std::vector<TensorId> inputs;
  for (const OperatorId id : graph.operators_of(Phase::kForward)) {
    if (graph[id].kind == OperatorKind::kGatedActivation) {
      inputs.insert(inputs.end(), graph[id].inputs.begin(), graph[id].inputs.end());
    }
  }
  return inputs;
}

std::vector<TensorId> lean_tensors(const LayerGraph& graph) {
  return without(minimal_tensors(graph), gate_and_up(graph));
}

Bytes bytes_per_token(const LayerGraph& graph, std::span<const TensorId> tensors) {
  Bytes sum;
  for (const TensorId tensor : tensors) sum += Bytes(graph[tensor].bytes_per_token());
  return sum;
}

Bytes split_bytes_per_token(const LayerGraph& graph, std::span<const TensorId> tensors) {
  Bytes sum;
  for (const TensorId tensor : tensors) {
    const std::int64_t copies = graph[tensor].spec.copies;
    sum += Bytes((graph[tensor].bytes_per_token() + copies - 1) / copies);
  }
  return sum;
}

RebuildPlan rebuild_plan(const LayerGraph& graph, std::span<const TensorId> kept) {
  return rebuild_plan(graph, kept, needed_tensors(graph));
}

RebuildPlan rebuild_plan(const LayerGraph& graph, std::span<const TensorId> kept, std::span<const TensorId> wanted) {
  RequirementWalk walk(graph, kept);
  for (const TensorId tensor : wanted) walk.demand(tensor);
  RebuildPlan plan;
  plan.from_below = walk.required(graph.input) && !contains(kept, graph.input);
  if (plan.from_below) walk.demand(graph.output);
  for (const OperatorId id : graph.operators_of(Phase::kForward)) {
    if (!walk.required(id)) continue;
    plan.operators.push_back(id);
    plan.matrix_products = plan.matrix_products || is_matrix_product(graph[id].kind);
  }
  plan.kernels = kernels_of(graph, plan.operators);
  for (const Kernel& kernel : plan.kernels) plan.work += kernel.work;
  return plan;
}

RecordSet make_record_set(const LayerGraph& graph, std::string name, std::vector<TensorId> tensors) {
  std::sort(tensors.begin(), tensors.end());
  RecordSet set{.name = std::move(name), .tensors = std::move(tensors)};
  set.bytes_per_token = bytes_per_token(graph, set.tensors);
  set.split_bytes_per_token = split_bytes_per_token(graph, set.tensors);
  for (const TensorId tensor : set.tensors) {
    check(!graph[tensor].gradient_of, "records hold forward tensors");
    if (serving_origin(graph, tensor) == ServingOrigin::kCached) {
      set.cached_bytes_per_token += Bytes(graph[tensor].bytes_per_token());
    }
  }
  set.rebuild = rebuild_plan(graph, set.tensors);
  return set;
}

std::vector<RecordSet> named_record_sets(const LayerGraph& graph) {
  const auto cached = forward_tensors_where(
      graph, [&](TensorId tensor) { return serving_origin(graph, tensor) == ServingOrigin::kCached; });
  std::vector<RecordSet> sets;
  sets.push_back(make_record_set(graph, "none", {}));
  sets.push_back(make_record_set(graph, "kv", cached));
  sets.push_back(make_record_set(graph, "input", {graph.input}));
  sets.push_back(make_record_set(graph, "lean", lean_tensors(graph)));
  sets.push_back(make_record_set(graph, "minimal", minimal_tensors(graph)));
  sets.push_back(make_record_set(graph, "all", needed_tensors(graph)));
  return sets;
}

std::optional<RecordSet> find_record_set(const LayerGraph& graph, std::string_view name) {
  for (RecordSet& set : named_record_sets(graph)) {
    if (set.name == name) return std::move(set);
  }
  return std::nullopt;
}

double rebuild_flops_per_byte(const LayerGraph& graph, std::span<const TensorId> kept, TensorId tensor, double keys) {
  check(contains(kept, tensor), "the tensor to drop is kept");
  const std::vector<TensorId> rest = without({kept.begin(), kept.end()}, {tensor});
  const double more =
      rebuild_plan(graph, rest).work.flops_per_token(keys) - rebuild_plan(graph, kept).work.flops_per_token(keys);
  return more / static_cast<double>(graph[tensor].bytes_per_token());
}

}  // namespace alchemist

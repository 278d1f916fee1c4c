// The layer graph as a Boost graph, for the algorithms. Kept out of layer_graph.h because Boost.Graph is slow to
// compile. Vertices: operators 0..O-1, then tensors; edges: tensor -> reader, producer -> tensor.
#pragma once

#include <boost/graph/adjacency_list.hpp>

#include "sim/model/layer_graph.h"

namespace alchemist {

using DependencyGraph = boost::adjacency_list<boost::vecS, boost::vecS, boost::bidirectionalS>;

inline std::size_t vertex_of(const LayerGraph&, OperatorId op) { return op.value(); }
inline std::size_t vertex_of(const LayerGraph& graph, TensorId tensor) {
  return graph.operators.size() + tensor.value();
}

// An acyclic graph.
inline DependencyGraph dependency_graph(const LayerGraph& graph) {
  DependencyGraph result(graph.operators.size() + graph.tensors.size());
  for (std::size_t i = 0; i < graph.operators.size(); ++i) {
    for (const TensorId tensor : graph.operators[i].inputs) boost::add_edge(vertex_of(graph, tensor), i, result);
    for (const TensorId tensor : graph.operators[i].outputs) boost::add_edge(i, vertex_of(graph, tensor), result);
  }
  return result;
}

}  // namespace alchemist

#include <boost/graph/graphviz.hpp>
#include <sstream>

#include "sim/model/dependency_graph.h"
#include "sim/model/layer_graph.h"

namespace alchemist {
namespace {

class DotWriter {
 public:
  explicit DotWriter(const LayerGraph& graph) : graph_(graph) {}

  void write_vertex(std::ostream& out, std::size_t vertex) const {
    if (vertex < graph_.operators.size()) {
      const Operator& op = graph_.operators[vertex];
      const char* fill = op.phase == Phase::kForward ? "lightblue" : op.parameters > 0 ? "lightsalmon" : "moccasin";
      out << "[shape=box, style=filled, fillcolor=" << fill << ", label=\"" << op.name << "\"]";
      return;
    }
    const Tensor& tensor = graph_.tensors[vertex - graph_.operators.size()];
    out << "[shape=ellipse, label=\"" << tensor.spec.name << "\\n" << tensor.bytes_per_token() << " B\"]";
  }

  // What backward reads of forward is what a record must provide: dashed.
  void write_edge(std::ostream& out, std::size_t source, std::size_t target) const {
    const bool reads = source >= graph_.operators.size() && graph_.operators[target].phase == Phase::kBackward &&
                       !graph_.tensors[source - graph_.operators.size()].gradient_of;
    if (reads) out << "[style=dashed, color=firebrick]";
  }

 private:
  const LayerGraph& graph_;
};

}  // namespace

std::string layer_graph_dot(const LayerGraph& graph, const std::string& title) {
  const DependencyGraph dependencies = dependency_graph(graph);
  const DotWriter writer(graph);
  std::ostringstream out;
  boost::write_graphviz(
      out, dependencies, [&](std::ostream& o, std::size_t vertex) { writer.write_vertex(o, vertex); },
      [&](std::ostream& o, const auto& edge) {
        writer.write_edge(o, boost::source(edge, dependencies), boost::target(edge, dependencies));
      },
      [&](std::ostream& o) { o << "label=" << boost::escape_dot_string(title) << "; labelloc=t; rankdir=TB;\n"; });
  return out.str();
}

}  // namespace alchemist

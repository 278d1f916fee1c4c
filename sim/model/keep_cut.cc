#include "sim/model/keep_cut.h"

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/push_relabel_max_flow.hpp>
#include <cmath>
#include <cstdint>
#include <queue>

#include "sim/base/check.h"

namespace alchemist {
namespace {

using Traits = boost::adjacency_list_traits<boost::vecS, boost::vecS, boost::directedS>;
using FlowGraph = boost::adjacency_list<
    boost::vecS, boost::vecS, boost::directedS, boost::no_property,
    boost::property<boost::edge_capacity_t, std::int64_t,
                    boost::property<boost::edge_residual_capacity_t, std::int64_t,
                                    boost::property<boost::edge_reverse_t, Traits::edge_descriptor>>>>;

constexpr std::int64_t kResolution = std::int64_t{1} << 40;  // of the sum of all costs
constexpr std::int64_t kInfinite = std::int64_t{1} << 48;    // above every finite cut, far from overflow in any sum

class CutNetwork {
 public:
  explicit CutNetwork(const KeepProblem& problem)
      : problem_(problem), graph_(problem.items.size() + problem.actions.size() + 2) {
    double sum = 0;
    for (const auto& item : problem.items) sum += item.keep_cost;
    for (const auto& action : problem.actions) sum += action.run_cost;
    check(std::isfinite(sum), "costs are finite");
    scale_ = sum > 0 ? static_cast<double>(kResolution) / sum : 0;
    for (const std::size_t item : problem.needed) add_edge(source(), item, kInfinite);
    for (std::size_t i = 0; i < problem.items.size(); ++i) {
      const auto& item = problem.items[i];
      add_edge(i, item.producer ? vertex_of_action(*item.producer) : sink(), capacity(item.keep_cost));
    }
    for (std::size_t i = 0; i < problem.actions.size(); ++i) {
      add_edge(vertex_of_action(i), sink(), capacity(problem.actions[i].run_cost));
      for (const std::size_t input : problem.actions[i].inputs) add_edge(vertex_of_action(i), input, kInfinite);
    }
  }

  // Vertices on the source side of the minimum cut that is nearest to the source, by item and then by action.
  std::vector<bool> source_side() {
    boost::push_relabel_max_flow(graph_, source(), sink());
    const auto residual = boost::get(boost::edge_residual_capacity, graph_);
    std::vector<bool> reached(boost::num_vertices(graph_), false);
    std::queue<std::size_t> frontier({source()});
    reached[source()] = true;
    while (!frontier.empty()) {
      const std::size_t vertex = frontier.front();
      frontier.pop();
      for (auto [edge, end] = boost::out_edges(vertex, graph_); edge != end; ++edge) {
        const std::size_t target = boost::target(*edge, graph_);
        if (residual[*edge] <= 0 || reached[target]) continue;
        reached[target] = true;
        frontier.push(target);
      }
    }
    return reached;
  }

 private:
  std::size_t vertex_of_action(std::size_t action) const { return problem_.items.size() + action; }
  std::size_t source() const { return problem_.items.size() + problem_.actions.size(); }
  std::size_t sink() const { return source() + 1; }

  std::int64_t capacity(double cost) const {
    check(cost >= 0, "costs are not negative");
    return std::llround(cost * scale_);
  }

  void add_edge(std::size_t from, std::size_t to, std::int64_t capacity) {
    const auto edge = boost::add_edge(from, to, graph_).first;
    const auto back = boost::add_edge(to, from, graph_).first;
    boost::put(boost::edge_capacity, graph_, edge, capacity);
    boost::put(boost::edge_capacity, graph_, back, 0);
    boost::put(boost::edge_reverse, graph_, edge, back);
    boost::put(boost::edge_reverse, graph_, back, edge);
  }

  const KeepProblem& problem_;
  FlowGraph graph_;
  double scale_ = 0;
};

// Seconds that one operator, launched alone, takes for each of many tokens.
double operator_seconds(const LayerGraph& graph, OperatorId id, const RestoreRates& rates, double keys) {
  const Work work = kernel_work(graph, std::span(&id, 1));
  const double compute = work.flops_per_token(keys) / rates.flops_per_s;
  return rates.memory_bytes_per_s ? std::max(compute, work.bytes_per_token / *rates.memory_bytes_per_s) : compute;
}

}  // namespace

KeepSolution solve_keep_problem(const KeepProblem& problem) {
  const std::vector<bool> chosen = CutNetwork(problem).source_side();
  KeepSolution solution{std::vector<bool>(problem.items.size()), std::vector<bool>(problem.actions.size()), 0};
  for (std::size_t i = 0; i < problem.actions.size(); ++i) {
    solution.run[i] = chosen[problem.items.size() + i];
    if (solution.run[i]) solution.cost += problem.actions[i].run_cost;
  }
  for (std::size_t i = 0; i < problem.items.size(); ++i) {
    const auto& item = problem.items[i];
    solution.kept[i] = chosen[i] && !(item.producer && solution.run[*item.producer]);
    if (solution.kept[i]) solution.cost += item.keep_cost;
  }
  return solution;
}

KeepProblem layer_keep_problem(const LayerGraph& graph, const RestoreRates& rates, double keys, CacheUse cache) {
  check(rates.copy_bytes_per_s > 0 && rates.flops_per_s > 0, "rates are positive");
  check(!rates.memory_bytes_per_s || *rates.memory_bytes_per_s > 0, "rates are positive");
  KeepProblem problem;
  for (std::uint32_t i = 0; i < graph.tensors.size() && !graph.tensors[i].gradient_of; ++i) {
    const TensorId tensor(i);
    const bool free = cache == CacheUse::kFree && serving_origin(graph, tensor) == ServingOrigin::kCached;
    const TensorId made_as = tensor == graph.input ? graph.output : tensor;
    problem.items.push_back({free ? 0 : static_cast<double>(graph[tensor].bytes_per_token()) / rates.copy_bytes_per_s,
                             graph[made_as].producers.front().value()});
  }
  for (const OperatorId id : graph.operators_of(Phase::kForward)) {
    KeepProblem::Action action{operator_seconds(graph, id, rates, keys), {}};
    for (const TensorId input : graph[id].inputs) action.inputs.push_back(input.value());
    problem.actions.push_back(std::move(action));
  }
  for (const TensorId tensor : needed_tensors(graph)) problem.needed.push_back(tensor.value());
  return problem;
}

RecordSet cheapest_record_set(const LayerGraph& graph, const RestoreRates& rates, double keys, CacheUse cache) {
  const KeepSolution solution = solve_keep_problem(layer_keep_problem(graph, rates, keys, cache));
  std::vector<TensorId> kept;
  for (std::uint32_t i = 0; i < solution.kept.size(); ++i) {
    if (solution.kept[i]) kept.push_back(TensorId(i));
  }
  return make_record_set(graph, "cheapest", std::move(kept));
}

}  // namespace alchemist

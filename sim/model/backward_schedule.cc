#include "sim/model/backward_schedule.h"

#include <algorithm>
#include <optional>

#include "sim/base/check.h"
#include "sim/model/record_set.h"

namespace alchemist {
namespace {

class Scheduler {
 public:
  Scheduler(const LayerGraph& graph, std::span<const TensorId> kept)
      : graph_(graph), is_kept_(graph.tensors.size(), false), at_hand_(graph.tensors.size(), false) {
    for (const TensorId tensor : kept) {
      check(!graph[tensor].gradient_of, "records hold forward tensors");
      is_kept_[tensor.value()] = at_hand_[tensor.value()] = true;
    }
    at_hand_[graph.input.value()] = true;  // kept, or made by the layer below
  }

  BackwardSchedule run(bool from_below) {
    if (from_below) provide(graph_.output);
    for (const OperatorId id : graph_.operators_of(Phase::kBackward)) {
      for (const TensorId input : graph_[id].inputs) {
        if (!graph_[input].gradient_of) provide(input);
      }
      schedule_.operators.push_back(id);
    }
    order_kept();
    measure_peak();
    return std::move(schedule_);
  }

 private:
  void provide(TensorId tensor) {
    if (at_hand_[tensor.value()]) return;
    const OperatorId producer = graph_[tensor].producers.front();
    for (const TensorId input : graph_[producer].inputs) provide(input);
    schedule_.operators.push_back(producer);
    for (const TensorId output : graph_[producer].outputs) at_hand_[output.value()] = true;
  }

  struct Uses {
    std::optional<std::size_t> made, first, last;  // positions in the schedule
  };

  std::vector<Uses> uses() const {
    std::vector<Uses> result(graph_.tensors.size());
    for (std::size_t step = 0; step < schedule_.operators.size(); ++step) {
      const Operator& op = graph_[schedule_.operators[step]];
      for (const TensorId input : op.inputs) {
        Uses& use = result[input.value()];
        if (!use.first) use.first = step;
        use.last = step;
      }
      for (const TensorId output : op.outputs) {
        Uses& use = result[output.value()];
        if (!use.made) use.made = step;
        use.last = std::max(use.last.value_or(step), step);
      }
    }
    return result;
  }

  void order_kept() {
    const std::vector<Uses> use = uses();
    for (std::uint32_t i = 0; i < graph_.tensors.size(); ++i) {
      if (is_kept_[i] && use[i].first) schedule_.reload_order.push_back(TensorId(i));
    }
    schedule_.release_order = schedule_.reload_order;
    std::stable_sort(schedule_.reload_order.begin(), schedule_.reload_order.end(),
                     [&](TensorId a, TensorId b) { return *use[a.value()].first < *use[b.value()].first; });
    std::stable_sort(schedule_.release_order.begin(), schedule_.release_order.end(),
                     [&](TensorId a, TensorId b) { return *use[a.value()].last < *use[b.value()].last; });
  }

  // The tensor whose storage each tensor lives in: views share that of what they pass on, all-reduces work in place.
  std::vector<TensorId> storage() const {
    std::vector<TensorId> result;
    for (std::uint32_t i = 0; i < graph_.tensors.size(); ++i) result.push_back(TensorId(i));
    for (const OperatorId id : schedule_.operators) {
      if (!graph_[id].view && !graph_[id].all_reduce()) continue;
      for (const TensorId output : graph_[id].outputs) {
        result[output.value()] = result[graph_[id].inputs.front().value()];
      }
    }
    return result;
  }

  void measure_peak() {
    const std::vector<Uses> use = uses();
    const std::vector<TensorId> home = storage();
    const std::size_t steps = schedule_.operators.size();
    std::vector<std::optional<std::size_t>> born(use.size()), dies(use.size());
    for (std::uint32_t i = 0; i < use.size(); ++i) {
      const bool outlives = graph_[TensorId(i)].gradient_of == graph_.input;  // goes on to the layer below
      const bool arrives = graph_[TensorId(i)].gradient_of == graph_.output;
      if (is_kept_[i] || is_kept_[home[i].value()] || (!use[i].made && !arrives)) continue;
      const std::size_t where = home[i].value(), from = use[i].made.value_or(0);
      const std::size_t to = outlives && steps > 0 ? steps - 1 : use[i].last.value_or(from);
      born[where] = std::min(born[where].value_or(from), from);
      dies[where] = std::max(dies[where].value_or(to), to);
    }
    std::vector<std::int64_t> change(steps + 1, 0);
    for (std::uint32_t i = 0; i < use.size(); ++i) {
      if (!born[i]) continue;
      change[*born[i]] += graph_.tensors[i].bytes_per_token();
      change[*dies[i] + 1] -= graph_.tensors[i].bytes_per_token();
    }
    std::int64_t alive = 0;
    for (const std::int64_t delta : change) {
      alive += delta;
      schedule_.peak_working_bytes_per_token = std::max(schedule_.peak_working_bytes_per_token, alive);
    }
  }

  const LayerGraph& graph_;
  std::vector<bool> is_kept_;
  std::vector<bool> at_hand_;
  BackwardSchedule schedule_;
};

}  // namespace

BackwardSchedule backward_schedule(const LayerGraph& graph, std::span<const TensorId> kept) {
  return Scheduler(graph, kept).run(rebuild_plan(graph, kept).from_below);
}

std::vector<Kernel> backward_kernels(const LayerGraph& graph, std::span<const TensorId> kept) {
  return kernels_of(graph, backward_schedule(graph, kept).operators);
}

}  // namespace alchemist

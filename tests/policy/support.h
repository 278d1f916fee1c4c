// Random restore problems and a brute force over orders of work, shared by the restore tests.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "sim/base/random.h"
#include "sim/policy/restore_plan.h"

namespace alchemist {

inline double between(RandomStream& random, double low, double high) { return low + (high - low) * random.uniform(); }

inline LayerTimes random_times(RandomStream& random, int layers) {
  LayerTimes times{.layers = layers,
                   .forward = between(random, 0.1, 2),
                   .backward = between(random, 0.1, 3),
                   .reload_full = between(random, 0.1, 5)};
  times.reload_lean = times.reload_full * random.uniform();
  times.rebuild_gate_up = times.forward * random.uniform();
  times.head = random.uniform() < 0.5 ? 0 : between(random, 0, 3);
  times.output = random.uniform() < 0.5 ? 0 : (times.forward - times.rebuild_gate_up) * random.uniform();
  return times;
}

// Some layers resident in part or wholly, some records lost, some tokens without any, some records lean.
inline RestoreProblem random_problem(RandomStream& random, int layers) {
  RestoreProblem problem(random_times(random, layers));
  for (LayerRecord& record : problem.records) {
    const double kind = random.uniform();
    record.absent_share = kind < 0.3 ? 0 : kind < 0.6 ? random.uniform() : 1;
  }
  if (random.uniform() < 0.3) problem.records[random.uniform_int(0, layers - 1)].on_host = false;
  if (random.uniform() < 0.3) problem.fresh_forward = between(random, 0, 1);
  if (problem.fresh_forward > 0 && random.uniform() < 0.5) problem.fresh_keys = between(random, 0, 2);
  if (random.uniform() < 0.2) problem.gate_up_recorded = false;
  return problem;
}

struct ComputeTask {
  double release = 0;
  double duration = 0;
  std::vector<int> after;  // tasks that must be done before it starts
};

// The earliest end of all tasks on one resource, over all orders that the precedence allows.
inline double best_end(const std::vector<ComputeTask>& tasks, unsigned done = 0, double now = 0) {
  if (done + 1 == 1u << tasks.size()) return now;
  double best = std::numeric_limits<double>::infinity();
  for (unsigned i = 0; i < tasks.size(); ++i) {
    const auto is_done = [&](int t) { return (done >> t & 1) != 0; };
    if (is_done(i) || !std::all_of(tasks[i].after.begin(), tasks[i].after.end(), is_done)) continue;
    best = std::min(best, best_end(tasks, done | 1u << i, std::max(now, tasks[i].release) + tasks[i].duration));
  }
  return best;
}

// One delivery over the link.
struct Delivery {
  int layer;
  bool lean;
  double duration;
};

// The deliveries of a plan in its own order. Every layer's record must lie on the host.
inline std::vector<Delivery> deliveries(const RestorePlan& plan, const LayerTimes& times) {
  std::vector<Delivery> result;
  for (int layer = times.layers - 1; layer >= 0; --layer) {
    if (plan.layers[layer].source != LayerSource::reload) continue;
    result.push_back({layer, true, times.reload_lean});
    result.push_back({layer, false, plan.layers[layer].gate_up_share * (times.reload_full - times.reload_lean)});
  }
  return result;
}

inline double step_seconds(const RestorePlan& plan, const RestoreProblem& problem) {
  return evaluate(plan, problem).step_seconds;
}

// The shortest step of the plan's sources with deliveries in the given order, over all orders of compute, where gate
// and up may also be rebuilt long before their layer's backward.
inline double best_step(const RestorePlan& plan, const LayerTimes& times, const std::vector<Delivery>& order) {
  std::vector<double> lean(times.layers, 0), full(times.layers, 0);
  double link = 0;
  for (const Delivery& delivery : order) {
    link += delivery.duration;
    (delivery.lean ? lean : full)[delivery.layer] = link;
  }
  std::vector<ComputeTask> tasks;
  int top_forward = -1;
  for (int layer = 0; layer < times.layers && plan.layers[layer].source == LayerSource::recompute; ++layer) {
    tasks.push_back({0, times.forward, {}});
    if (layer > 0) tasks.back().after = {layer - 1};
    top_forward = layer;
  }
  const int meeting_layer = top_forward + 1;
  tasks.push_back({lean.back(), times.head + (meeting_layer < times.layers ? times.output : 0), {}});
  if (meeting_layer == times.layers) tasks.back().after = {top_forward};
  int above = static_cast<int>(tasks.size()) - 1;
  for (int layer = times.layers - 1; layer >= 0; --layer) {
    ComputeTask backward{std::max(lean[layer], full[layer]), times.backward, {above}};
    if (layer < meeting_layer) backward.after.push_back(layer);
    if (layer >= meeting_layer && plan.layers[layer].gate_up_share < 1) {
      tasks.push_back({lean[layer], (1 - plan.layers[layer].gate_up_share) * times.rebuild_gate_up, {}});
      backward.after.push_back(static_cast<int>(tasks.size()) - 1);
    }
    tasks.push_back(backward);
    above = static_cast<int>(tasks.size()) - 1;
  }
  return best_end(tasks);
}

// The same over all orders of the deliveries too.
inline double best_step_any_delivery(const RestorePlan& plan, const LayerTimes& times) {
  const std::vector<Delivery> given = deliveries(plan, times);
  std::vector<int> index(given.size());
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<int>(i);
  double best = std::numeric_limits<double>::infinity();
  do {
    std::vector<Delivery> order;
    for (const int i : index) order.push_back(given[i]);
    best = std::min(best, best_step(plan, times, order));
  } while (std::next_permutation(index.begin(), index.end()));
  return best;
}

}  // namespace alchemist

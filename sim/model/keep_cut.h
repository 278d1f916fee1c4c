// The cheapest set of tensors to keep: a minimum cut between paying for a tensor's bytes and paying for the FLOPs that
// rebuild it.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "sim/model/record_set.h"

namespace alchemist {

// Every needed tensor must be at hand: kept at its keep_cost, or made by its producer, which then runs at its run_cost
// (once, whatever the number of outputs that are wanted) and needs all its inputs at hand in turn. A tensor without a
// producer can only be kept. Costs are >= 0, in any one unit.
struct KeepProblem {
  struct Item {
    double keep_cost = 0;
    std::optional<std::size_t> producer;  // index into actions
  };
  struct Action {
    double run_cost = 0;
    std::vector<std::size_t> inputs;  // indices into items
  };
  std::vector<Item> items;
  std::vector<Action> actions;
  std::vector<std::size_t> needed;  // indices into items
};

struct KeepSolution {
  std::vector<bool> kept;  // by item
  std::vector<bool> run;   // by action
  double cost = 0;
};

// Exact up to the resolution of the integer capacities (2^-40 of the sum of all costs). As in Picard 1976 (maximum
// closure as a minimum cut): source side = "at hand" or "runs"; a needed item hangs on the source, an item's edge to
// its producer costs keep_cost (at hand, yet not made), an action's edge to the sink costs run_cost, and an action's
// edges to its inputs are infinite. Of several optimal solutions, the one with the fewest tensors at hand.
KeepSolution solve_keep_problem(const KeepProblem& problem);

struct RestoreRates {
  double copy_bytes_per_s = 0;                    // > 0: at which kept tensors come back
  double flops_per_s = 0;                         // > 0
  std::optional<double> memory_bytes_per_s = {};  // > 0: bounds operators too; none: their traffic costs nothing
};

// Whether keys and values that serving caches anyway cost anything to keep.
enum class CacheUse { kFree, kPaid };

// The layer's keep problem in seconds a token. Items are the forward tensors (same indices as in the graph), actions
// the forward operators. The layer's input has the layer below, an equal one, as its producer: keeping nothing at all
// costs the whole forward. Weights are read once for many tokens, so their traffic is left out.
KeepProblem layer_keep_problem(const LayerGraph& graph, const RestoreRates& rates, double keys, CacheUse cache);

// The solution of that problem, copies and recomputation one after the other.
RecordSet cheapest_record_set(const LayerGraph& graph, const RestoreRates& rates, double keys, CacheUse cache);

}  // namespace alchemist

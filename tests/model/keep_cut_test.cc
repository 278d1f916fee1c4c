#include "sim/model/keep_cut.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "sim/base/random.h"
#include "tests/model/shapes.h"

namespace alchemist {
namespace {

// Cost of keeping exactly the items of `kept` (a bit each): what is needed and not kept must be made, recursively.
// Infinite if that takes an item that nothing makes. Written without any graph library, as the cut's referee.
double cost_of(const KeepProblem& problem, std::uint64_t kept) {
  std::uint64_t run = 0, used = 0;
  bool possible = true;
  std::function<void(std::size_t)> obtain = [&](std::size_t item) {
    if (used >> item & 1) return;
    used |= std::uint64_t{1} << item;
    if (kept >> item & 1) return;
    const auto& producer = problem.items[item].producer;
    if (!producer) possible = false;
    if (!producer || run >> *producer & 1) return;
    run |= std::uint64_t{1} << *producer;
    for (const std::size_t input : problem.actions[*producer].inputs) obtain(input);
  };
  for (const std::size_t item : problem.needed) obtain(item);
  if (!possible) return std::numeric_limits<double>::infinity();
  double cost = 0;
  for (std::size_t i = 0; i < problem.items.size(); ++i) cost += kept >> i & 1 ? problem.items[i].keep_cost : 0;
  for (std::size_t i = 0; i < problem.actions.size(); ++i) cost += run >> i & 1 ? problem.actions[i].run_cost : 0;
  return cost;
}

double brute_force(const KeepProblem& problem) {
  double best = std::numeric_limits<double>::infinity();
  for (std::uint64_t kept = 0; kept < std::uint64_t{1} << problem.items.size(); ++kept) {
    best = std::min(best, cost_of(problem, kept));
  }
  return best;
}

std::uint64_t bits(const std::vector<bool>& flags) {
  std::uint64_t result = 0;
  for (std::size_t i = 0; i < flags.size(); ++i) result |= static_cast<std::uint64_t>(flags[i]) << i;
  return result;
}

// a -> (3) -> b -> (4) -> c; b and c are needed. Keeping both costs 5 + 6; making both from a, 2 + 3 + 4 = 9; keeping b
// and making c, 5 + 4 = 9 as well; keeping c and making b, 6 + 2 + 3 = 11. At a cost of 1 for b it is 1 + 4 = 5.
TEST(KeepCut, ChainByHand) {
  KeepProblem problem{{{2, {}}, {5, 0}, {6, 1}}, {{3, {0}}, {4, {1}}}, {1, 2}};
  EXPECT_DOUBLE_EQ(solve_keep_problem(problem).cost, 9);
  problem.items[1].keep_cost = 1;
  const KeepSolution solution = solve_keep_problem(problem);
  EXPECT_DOUBLE_EQ(solution.cost, 5);
  EXPECT_EQ(solution.kept, (std::vector<bool>{false, true, false}));
  EXPECT_EQ(solution.run, (std::vector<bool>{false, true}));
}

// One run makes both outputs: 7 beats keeping both (5 + 5), not one alone.
TEST(KeepCut, AnActionWithTwoOutputsRunsOnce) {
  KeepProblem problem{{{0, {}}, {5, 0}, {5, 0}}, {{7, {0}}}, {1, 2}};
  EXPECT_DOUBLE_EQ(solve_keep_problem(problem).cost, 7);
  problem.needed = {1};
  EXPECT_DOUBLE_EQ(solve_keep_problem(problem).cost, 5);
}

// Random graphs of up to 12 tensors: actions with one or two outputs, up to three inputs among the earlier tensors.
TEST(KeepCut, MatchesBruteForceOnRandomGraphs) {
  RandomStream random(7, "keep_cut");
  for (int trial = 0; trial < 300; ++trial) {
    KeepProblem problem;
    const auto cost = [&] { return random.uniform() < 0.1 ? 0.0 : static_cast<double>(random.uniform_int(1, 20)); };
    problem.items.push_back({cost(), {}});
    problem.items.push_back({cost(), {}});
    while (problem.items.size() < 11) {
      KeepProblem::Action action{cost(), {}};
      const std::int64_t earlier = static_cast<std::int64_t>(problem.items.size()) - 1;
      for (std::int64_t n = random.uniform_int(1, 3); n > 0; --n) {
        action.inputs.push_back(static_cast<std::size_t>(random.uniform_int(0, earlier)));
      }
      for (std::int64_t n = random.uniform_int(1, 2); n > 0; --n) {
        problem.items.push_back({cost(), problem.actions.size()});
      }
      problem.actions.push_back(std::move(action));
    }
    for (std::size_t i = 0; i < problem.items.size(); ++i) {
      if (random.uniform() < 0.4) problem.needed.push_back(i);
    }
    const KeepSolution solution = solve_keep_problem(problem);
    EXPECT_NEAR(solution.cost, brute_force(problem), 1e-6) << trial;
    EXPECT_NEAR(cost_of(problem, bits(solution.kept)), solution.cost, 1e-9) << trial;
  }
}

// The layer itself, over the balances of real machines (FLOP/s for each byte/s of the link) and beyond. 2^18 subsets of
// its 18 forward tensors each.
TEST(KeepCut, MatchesBruteForceOnTheLayer) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  for (const double balance : {100.0, 3000.0, 4400.0, 12500.0, 50000.0}) {
    for (const CacheUse cache : {CacheUse::kFree, CacheUse::kPaid}) {
      const RestoreRates rates{50e9, 50e9 * balance, 4e12};
      const KeepProblem problem = layer_keep_problem(graph, rates, 1024, cache);
      const KeepSolution solution = solve_keep_problem(problem);
      const double best = brute_force(problem);
      EXPECT_NEAR(solution.cost, best, 1e-6 * best) << balance;
      EXPECT_NEAR(cost_of(problem, bits(solution.kept)), best, 1e-6 * best) << balance;
    }
  }
}

// The rebuild plan and the cut's own accounting are written apart and agree: the operators that the cut runs are those
// that the plan of its kept set runs.
TEST(KeepCut, RunsWhatTheRebuildPlanSays) {
  for (const auto& training : {full_training(), lora_training(8, {LinearModule::kQ, LinearModule::kDown})}) {
    const LayerGraph graph = build_layer_graph(llama2_7b(), training);
    for (double balance = 10; balance < 1e6; balance *= 1.7) {
      const RestoreRates rates{25e9, 25e9 * balance, {}};
      const KeepSolution solution = solve_keep_problem(layer_keep_problem(graph, rates, 500, CacheUse::kPaid));
      const RecordSet cheapest = cheapest_record_set(graph, rates, 500, CacheUse::kPaid);
      std::vector<bool> planned(solution.run.size(), false);
      for (const OperatorId op : cheapest.rebuild.operators) planned[op.value()] = true;
      EXPECT_EQ(planned, solution.run) << balance;
    }
  }
}

// Slow arithmetic: keep all that costs a product to rebuild, which is the minimal set (element-wise operators are still
// cheaper than their bytes). Fast arithmetic: keep nothing. In between, at 12,500 FLOP/byte, gate, up, q, k and v
// (4,096 FLOP/byte) and attention (1,024 at 2k tokens) are rebuilt and the input (14,336) is kept.
TEST(KeepCut, FollowsTheBalanceOfTheMachine) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  const auto kept = [&](double balance) {
    const RestoreRates rates{50e9, 50e9 * balance, {}};
    return names(graph, cheapest_record_set(graph, rates, 1024, CacheUse::kPaid).tensors);
  };
  EXPECT_EQ(kept(500), names(graph, minimal_tensors(graph)));
  EXPECT_EQ(kept(1e6), std::vector<std::string>{});
  const auto between = kept(12'500);
  EXPECT_NE(std::find(between.begin(), between.end(), "x"), between.end());
  EXPECT_EQ(std::find(between.begin(), between.end(), "gate"), between.end());
  EXPECT_EQ(std::find(between.begin(), between.end(), "q"), between.end());
}

}  // namespace
}  // namespace alchemist

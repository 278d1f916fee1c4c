// Where activations come from that are on the host.
#include <utility>

#include "sim/policy/decision_table.h"

namespace alchemist {
namespace {

using RestoreFunction = RestorePlan (*)(const RestoreProblem&);

class RestoreBy final : public RestoreDecision {
 public:
  explicit RestoreBy(RestoreFunction function) : function_(function) {}
  // The best for each of the problems are the candidates; the best of these is the one with the least mean. What is
  // best for the mean of the problems would not do: where link and compute take equally long on average, half of the
  // time one waits for the other.
  RestorePlan choose(std::span<const RestoreProblem> outlook) override {
    RestorePlan best = function_(outlook.front());
    if (outlook.size() == 1) return best;
    double best_seconds = total_seconds(best, outlook);
    for (const RestoreProblem& problem : outlook.subspan(1)) {
      RestorePlan plan = function_(problem);
      if (plan == best) continue;
      const double seconds = total_seconds(plan, outlook);
      if (seconds >= best_seconds) continue;
      best = std::move(plan);
      best_seconds = seconds;
    }
    return best;
  }

 private:
  static double total_seconds(const RestorePlan& plan, std::span<const RestoreProblem> outlook) {
    double seconds = 0;
    for (const RestoreProblem& problem : outlook) seconds += evaluate(plan, problem).step_seconds;
    return seconds;
  }

  RestoreFunction function_;
};

// Two ways are held ready, and the one that is done first by estimate is taken.
RestorePlan hedged(const RestoreProblem& problem) {
  RestorePlan reload = reload_all(problem), recompute = recompute_all(problem);
  return evaluate(recompute, problem).step_seconds < evaluate(reload, problem).step_seconds ? recompute : reload;
}

constexpr DecisionChoice<RestoreDecision> kRestoreDecisions[] = {
    {{"none", "there are no records"}, no_decision<RestoreDecision>},
    {{"recompute", "everything that is not on the GPU is recomputed"},
     make_choice<RestoreDecision, RestoreBy, recompute_all>},
    {{"reload", "everything that has a host copy is reloaded"}, make_choice<RestoreDecision, RestoreBy, reload_all>},
    {{"hedged", "reload or recompute as a whole, whichever is done first by estimate"},
     make_choice<RestoreDecision, RestoreBy, hedged>},
    {{"race", "recompute goes up from layer 0 while reload comes down from the last layer"},
     make_choice<RestoreDecision, RestoreBy, race>},
    {{"planned", "per layer and tensor the cheapest of both, over link and compute"},
     make_choice<RestoreDecision, RestoreBy, planned>},
};

}  // namespace

const std::vector<DecisionName>& restore_decisions() {
  static const std::vector<DecisionName> names = names_of<RestoreDecision>(kRestoreDecisions);
  return names;
}

std::unique_ptr<RestoreDecision> make_restore_decision(std::string_view name) {
  return make_named<RestoreDecision>(kRestoreDecisions, name);
}

}  // namespace alchemist

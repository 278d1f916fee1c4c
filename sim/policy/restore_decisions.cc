// Where activations come from that are on the host.
#include "sim/policy/decision_table.h"

namespace alchemist {
namespace {

using RestoreFunction = RestorePlan (*)(const RestoreProblem&);

class RestoreBy final : public RestoreDecision {
 public:
  explicit RestoreBy(RestoreFunction function) : function_(function) {}
  RestorePlan choose(const RestoreProblem& problem) override { return function_(problem); }

 private:
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

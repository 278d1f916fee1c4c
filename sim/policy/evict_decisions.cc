// Which record gives way when memory is short.
#include <limits>

#include "sim/policy/decision_table.h"

namespace alchemist {
namespace {

// With a memoryless delay of the feedback, the chance that it still comes falls with the age of the record.
class EvictOldest final : public EvictDecision {
 public:
  double value(const EvictView& view) override {
    constexpr double kFeedbackCame = 1e12;  // seconds: worth more than any record without feedback
    return (view.feedback_came && !view.passed_over ? kFeedbackCame : 0) - view.age.in_seconds();
  }
};

// Belady: the record needed farthest in the future gives way, those never needed first.
class EvictFarthest final : public EvictDecision {
 public:
  double value(const EvictView& view) override {
    if (!view.needed_in || view.passed_over) return -std::numeric_limits<double>::max();
    return -view.needed_in->in_seconds();
  }
  bool clairvoyant() const override { return true; }
};

constexpr DecisionChoice<EvictDecision> kEvictDecisions[] = {
    {{"none", "there are no records"}, no_decision<EvictDecision>},
    {{"oldest", "the oldest first, those whose feedback has come last"}, make_choice<EvictDecision, EvictOldest>},
    {{"farthest", "the one needed farthest in the future first (clairvoyant)"},
     make_choice<EvictDecision, EvictFarthest>},
};

}  // namespace

const std::vector<DecisionName>& evict_decisions() {
  static const std::vector<DecisionName> names = names_of<EvictDecision>(kEvictDecisions);
  return names;
}

std::unique_ptr<EvictDecision> make_evict_decision(std::string_view name) {
  return make_named<EvictDecision>(kEvictDecisions, name);
}

}  // namespace alchemist

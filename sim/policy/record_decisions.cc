// Which requests to record, and which of their tensors.
#include <algorithm>
#include <array>
#include <cmath>

#include "sim/base/check.h"
#include "sim/base/longest_run.h"
#include "sim/policy/decision_table.h"

namespace alchemist {
namespace {

class RecordAlways final : public RecordDecision {
 public:
  explicit RecordAlways(RecordChoice choice) : choice_(choice) {}
  RecordChoice choose(const RecordView&) override { return choice_; }

 private:
  RecordChoice choice_;
};

// How much to record, so that training finds the records that it can use and serving pays for no others. A record goes
// when it has been trained, soon after its feedback, or when memory is short. The more is recorded, the sooner memory
// is, and the fewer records live to see their feedback, of whose coming the feedback model knows.
struct RecordRate {
  double share = 1;   // of the offered tokens
  double useful = 0;  // tokens a second whose feedback comes while their record exists
  double gain = 0;    // GPU time a second that training does not take for them, less what copies slow
};

using Prospects = std::array<FeedbackModel::Prospect, FeedbackModel::kBins>;

// Tokens a second whose feedback comes while their record exists, if `recorded` are recorded and memory holds
// `capacity` tokens. By Little's law, memory holds the rate times the mean life: until the feedback and `queued_s` more
// for those that training takes, which is at most its demand, until given up for the others.
double useful_rate(const Prospects& prospects, double recorded, double capacity, double demand, double queued_s) {
  double held_before = 0, useful_before = 0;
  for (const FeedbackModel::Prospect& prospect : prospects) {
    const double useful = recorded * prospect.wanted;
    const double taken = useful > demand ? demand / useful : 1;
    const double used_s = prospect.wait_s + prospect.wanted * queued_s;
    const double held = recorded * (taken * used_s + (1 - taken) * prospect.age_s);
    if (held > capacity) {
      return useful_before + (useful - useful_before) * (capacity - held_before) / (held - held_before);
    }
    held_before = held;
    useful_before = useful;
  }
  return useful_before;
}

// Records come and go as a whole, so that memory holds fewer of them than bytes would. One is being made; one is being
// copied, and takes room at both ends; and at either end half of one finds no room.
double records_lost(const RecordView& view) { return std::isinf(view.copy_bandwidth) ? 1.5 : 3; }

// `saving`: of the forward, by one record. `prompt_tokens`: that one has on average.
RecordRate best_rate(const RecordView& view, const Prospects& prospects, Bytes bytes, double saving,
                     double prompt_tokens) {
  constexpr double kReserve = 1.25;     // over what training took: its demand varies, and grows with reuse
  constexpr double kGoodEnough = 0.97;  // of the most that could be useful
  constexpr double kOfLink = 0.8;       // copies share the link with reloads
  constexpr int kChoices = 13;
  const double per_token = bytes.as_double() / static_cast<double>(view.tokens);
  const double capacity = view.capacity.as_double() / per_token - records_lost(view) * prompt_tokens;
  std::array<RecordRate, kChoices> choices;
  double most = 0;
  for (int i = 0; i < kChoices; ++i) {
    RecordRate& choice = choices[static_cast<std::size_t>(i)];
    choice.share = std::exp2(-0.5 * i);
    const double chosen = std::min(choice.share * view.whole_per_s, kOfLink * view.copy_bandwidth / per_token);
    const double recorded = chosen * view.kept_share;
    choice.share = chosen / view.whole_per_s;
    choice.useful = useful_rate(prospects, recorded, std::max(0.0, capacity), view.trained_per_s, view.queued_s);
    most = std::max(most, choice.useful);
  }
  const double wanted = std::min(kReserve * view.trained_per_s, kGoodEnough * most);
  const auto least =
      std::find_if(choices.rbegin(), choices.rend(), [&](const RecordRate& choice) { return choice.useful >= wanted; });
  RecordRate best = least == choices.rend() ? choices.front() : *least;
  const double copied_bytes = best.share * view.whole_per_s * view.kept_share * per_token * view.copied_share;
  best.gain = saving * std::min(best.useful, view.trained_per_s) * view.used_share * view.forward_s -
              copied_bytes / view.copy_bandwidth * view.copy_costs;
  return best;
}

// A decode step computes one token of each answer. Recording them pays if the forward that those save which will be
// trained takes longer than what it adds to the step. `recorded`: share of the requests; `useful`: of those.
bool answers_pay(const RecordView& view, double recorded, double useful) {
  return recorded * view.decoding * useful * view.forward_s >= view.step_s;
}

// As many prompts as training has a use for, of each the set that saves more of its forward in all. Prompts whose
// conversation is recorded whole come first, since a sample is a whole conversation; others only if those do not
// suffice.
class RecordAdaptive final : public RecordDecision {
 public:
  RecordChoice choose(const RecordView& view) override {
    constexpr double kWeight = 1.0 / 32;
    const auto tokens = static_cast<double>(view.tokens);
    prompt_tokens_ += (calls_ == 0 ? 1 : kWeight) * (tokens - prompt_tokens_);
    if (calls_++ % kCallsBetweenPlans == 0) plan(view);
    if (!planned_) return to_learn(view);
    if (!view.whole && !others_too_) return RecordChoice::kNothing;
    due_ += share_;
    if (due_ < 1) return RecordChoice::kNothing;
    due_ -= 1;
    return choice_;
  }
  // Memory that is too small for the prompts of what training takes is worth more to them: a prompt is there at once,
  // an answer holds memory on the GPU while it is decoded.
  bool answer_too() const override { return suffices_ && answers_pay_; }

 private:
  // Everything, until memory is full of records none of which was ever trained: training may not get on at all.
  RecordChoice to_learn(const RecordView& view) {
    suffices_ = view.free >= view.minimal_bytes;
    if (suffices_) return RecordChoice::kMinimal;
    return view.feedback->knows() && view.trained_per_s <= 0 ? RecordChoice::kNothing : RecordChoice::kLean;
  }

  void plan(const RecordView& view) {
    planned_ = view.feedback->knows() && view.trained_per_s > 0 && view.whole_per_s > 0;
    if (!planned_) return;
    const Prospects prospects = view.feedback->prospects();
    const RecordRate lean = best_rate(view, prospects, view.lean_bytes, view.lean_saving, prompt_tokens_);
    const RecordRate minimal = best_rate(view, prospects, view.minimal_bytes, 1, prompt_tokens_);
    const double demand = view.trained_per_s;
    const RecordRate& best = minimal.gain >= lean.gain ? minimal : lean;
    choice_ = minimal.gain >= lean.gain ? RecordChoice::kMinimal : RecordChoice::kLean;
    constexpr double kToLearn = 1.0 / 32;  // whether that is still so
    share_ = best.gain >= 0 ? best.share : std::min(best.share, kToLearn);
    suffices_ = best.useful >= demand;
    others_too_ = !suffices_ && best.share > 0.9;
    const double useful = std::min(best.useful, demand) / std::max(best.share * view.whole_per_s, 1.0);
    answers_pay_ = answers_pay(view, best.share, std::min(useful, 1.0));
  }

  static constexpr int kCallsBetweenPlans = 16;
  int calls_ = 0;
  double prompt_tokens_ = 0;  // of late
  bool planned_ = false;      // the rest is known
  RecordChoice choice_ = RecordChoice::kLean;
  double share_ = 1;
  bool suffices_ = false;     // what is recorded for what training takes, as far as is known
  bool answers_pay_ = false;  // nor is it while nothing is known
  bool others_too_ = true;
  double due_ = 0;  // prompts
};

// Only what will be trained, and of that what is needed soonest, as much as training can take. Whole conversations
// first, as above.
class RecordForeseen final : public RecordDecision {
 public:
  RecordChoice choose(const RecordView& view) override {
    check(view.foresees, "this decision is for a clairvoyant policy");
    if (!view.needed_in) return RecordChoice::kNothing;
    if (!view.feedback->knows() || view.trained_per_s <= 0) return RecordChoice::kMinimal;
    constexpr double kReserve = 2;  // of the queue of recorded samples, the best are taken
    const double wanted = kReserve * view.trained_per_s;
    const auto needed_within = [&](double seconds) { return view.feedback->wanted_within(seconds) * view.whole_per_s; };
    const double ever = needed_within(kLongestRun.in_seconds());
    training_is_short_ = ever >= kReserve * wanted;
    answers_pay_ = answers_pay(view, std::min(1.0, wanted / std::max(view.whole_per_s, 1.0)), 1 / kReserve);
    const bool use = view.whole ? needed_within(view.needed_in->in_seconds()) <= wanted : ever < wanted;
    return use ? RecordChoice::kMinimal : RecordChoice::kNothing;
  }
  // As above: where training takes much of what comes, it is memory that is short.
  bool answer_too() const override { return training_is_short_ && answers_pay_; }
  bool clairvoyant() const override { return true; }

 private:
  bool training_is_short_ = true;
  bool answers_pay_ = true;
};

constexpr DecisionChoice<RecordDecision> kRecordDecisions[] = {
    {{"none", "nothing is recorded"}, no_decision<RecordDecision>},
    {{"minimal", "all that backward needs and element-wise operators cannot rebuild"},
     make_choice<RecordDecision, RecordAlways, RecordChoice::kMinimal>},
    {{"lean", "the minimal set without gate and up"}, make_choice<RecordDecision, RecordAlways, RecordChoice::kLean>},
    {{"adaptive", "as many prompts as training has a use for, minimal or lean, whichever saves more"},
     make_choice<RecordDecision, RecordAdaptive>},
    {{"foreseen", "only what will be trained, and of that what is needed soonest (clairvoyant)"},
     make_choice<RecordDecision, RecordForeseen>},
};

}  // namespace

const std::vector<DecisionName>& record_decisions() {
  static const std::vector<DecisionName> names = names_of<RecordDecision>(kRecordDecisions);
  return names;
}

std::unique_ptr<RecordDecision> make_record_decision(std::string_view name) {
  return make_named<RecordDecision>(kRecordDecisions, name);
}

}  // namespace alchemist

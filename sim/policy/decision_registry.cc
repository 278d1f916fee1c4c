#include "sim/policy/decision_registry.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "sim/base/check.h"
#include "sim/base/longest_run.h"

namespace alchemist {
namespace {

// ---- record

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
};

using Prospects = std::array<FeedbackModel::Prospect, FeedbackModel::kBins>;

// Tokens a second whose feedback comes while their record exists, if `recorded` are recorded and memory holds
// `capacity` tokens. By Little's law, memory holds the rate times the mean life: until the feedback for those that
// training takes, which is at most its demand, until given up for the others.
double useful_rate(const Prospects& prospects, double recorded, double capacity, double demand) {
  double held_before = 0, useful_before = 0;
  for (const FeedbackModel::Prospect& prospect : prospects) {
    const double useful = recorded * prospect.wanted;
    const double taken = useful > demand ? demand / useful : 1;
    const double held = recorded * (taken * prospect.wait_s + (1 - taken) * prospect.age_s);
    if (held > capacity) {
      return useful_before + (useful - useful_before) * (capacity - held_before) / (held - held_before);
    }
    held_before = held;
    useful_before = useful;
  }
  return useful_before;
}

RecordRate best_rate(const RecordView& view, const Prospects& prospects, Bytes bytes) {
  constexpr double kReserve = 1.25;     // over what training took: its demand varies, and grows with reuse
  constexpr double kGoodEnough = 0.97;  // of the most that could be useful
  constexpr double kOfLink = 0.8;       // copies share the link with reloads
  constexpr int kChoices = 13;
  const double per_token = bytes.as_double() / static_cast<double>(view.tokens);
  std::array<RecordRate, kChoices> choices;
  double most = 0;
  for (int i = 0; i < kChoices; ++i) {
    RecordRate& choice = choices[static_cast<std::size_t>(i)];
    choice.share = std::exp2(-0.5 * i);
    const double chosen = std::min(choice.share * view.whole_per_s, kOfLink * view.copy_bandwidth / per_token);
    const double recorded = chosen * view.kept_share;
    choice.share = chosen / view.whole_per_s;
    choice.useful = useful_rate(prospects, recorded, view.capacity.as_double() / per_token, view.trained_per_s);
    most = std::max(most, choice.useful);
  }
  const double wanted = std::min(kReserve * view.trained_per_s, kGoodEnough * most);
  const auto least =
      std::find_if(choices.rbegin(), choices.rend(), [&](const RecordRate& choice) { return choice.useful >= wanted; });
  return least == choices.rend() ? choices.front() : *least;
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
    const RecordRate lean = best_rate(view, prospects, view.lean_bytes);
    const RecordRate minimal = best_rate(view, prospects, view.minimal_bytes);
    const double demand = view.trained_per_s;
    const bool minimal_saves_more =
        std::min(minimal.useful, demand) >= view.lean_saving * std::min(lean.useful, demand);
    const RecordRate& best = minimal_saves_more ? minimal : lean;
    choice_ = minimal_saves_more ? RecordChoice::kMinimal : RecordChoice::kLean;
    share_ = best.share;
    suffices_ = best.useful >= demand;
    others_too_ = !suffices_ && best.share > 0.9;
    const double useful = std::min(best.useful, demand) / std::max(best.share * view.whole_per_s, 1.0);
    answers_pay_ = answers_pay(view, best.share, std::min(useful, 1.0));
  }

  static constexpr int kCallsBetweenPlans = 16;
  int calls_ = 0;
  bool planned_ = false;  // the rest is known
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

 private:
  bool training_is_short_ = true;
  bool answers_pay_ = true;
};

// ---- place

class PlaceStay final : public PlaceDecision {
 public:
  PlaceChoice on_recorded(const PlaceView&) override { return PlaceChoice::kStay; }
  bool keep_after_copy(const PlaceView&) override { return true; }
  bool uses_host() const override { return false; }
  bool copy_out_under_pressure(const PlaceView&) override { return false; }
};

class PlaceUnderPressure final : public PlaceDecision {
 public:
  PlaceChoice on_recorded(const PlaceView&) override { return PlaceChoice::kStay; }
  bool keep_after_copy(const PlaceView&) override { return true; }
  bool uses_host() const override { return true; }
  bool copy_out_under_pressure(const PlaceView&) override { return true; }
};

constexpr double kTooFarBehind_s = 5;  // link

// A second copy before it is needed, unless the link is so far behind that the copy would come too late to help.
class PlaceEager final : public PlaceDecision {
 public:
  PlaceChoice on_recorded(const PlaceView& view) override {
    return view.link_backlog_s < kTooFarBehind_s ? PlaceChoice::kCopyNow : PlaceChoice::kStay;
  }
  bool uses_host() const override { return true; }
  // A token's record is as large as the keys and values of 9 to 23 tokens, and its reload hides behind backward: it is
  // worth less than the cached prefixes that it would displace.
  bool keep_after_copy(const PlaceView& view) override { return view.blank > Bytes(); }
  // In a burst memory comes free at once: by host copies that exist, and otherwise by dropping.
  bool copy_out_under_pressure(const PlaceView&) override { return false; }
};

// One copy of each record: on the GPU as long as there is room to stay, else on the host. Memory for twice as many.
class PlaceTiered final : public PlaceDecision {
 public:
  PlaceChoice on_recorded(const PlaceView& view) override {
    return view.room > Bytes() || view.link_backlog_s > kTooFarBehind_s ? PlaceChoice::kStay : PlaceChoice::kCopyNow;
  }
  bool keep_after_copy(const PlaceView&) override { return false; }
  bool uses_host() const override { return true; }
  // Serving does not wait for a copy: records make place before it has to ask, as far as that can be foreseen.
  bool copy_out_under_pressure(const PlaceView&) override { return false; }
};

// ---- evict

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
};

// ---- restore

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

// ---- train

bool batch_is_full(const TrainStartView& view) { return view.ready_tokens >= view.batch_tokens; }

constexpr std::int64_t kAnyTokens = std::numeric_limits<std::int64_t>::max();

// A serving step that comes while the GPU is idle waits for at most this long, or, on a slow device, for the smallest
// part of a piece: training that waits while nothing else runs would help nobody.
constexpr TrainAllowance kIdlePiece = {Duration::milliseconds(2), kAnyTokens, true};

class TrainWhenever final : public TrainDecision {
 public:
  bool start_step(const TrainStartView& view) override { return batch_is_full(view); }
  TrainAllowance allow(const TrainPieceView&) override { return {Duration::max(), kAnyTokens}; }
};

class TrainIdle final : public TrainDecision {
 public:
  bool start_step(const TrainStartView& view) override { return batch_is_full(view); }
  TrainAllowance allow(const TrainPieceView& view) override {
    return view.serving_idle ? kIdlePiece : TrainAllowance();
  }
};

// Between two decode steps training takes what is left of the longest gap between tokens that it may cause. Where none
// is given it takes a share of decode's time, but never makes a gap longer than the longest few percent of steps are
// anyway: the tail of the latencies does not see it. The share is saved up until a whole piece fits, or as much of it
// as the gap holds: parts cost more than the piece, because each reads the weights again. It stands back while a prompt
// waits or is computed.
class TrainHeadroom final : public TrainDecision {
 public:
  bool start_step(const TrainStartView& view) override { return batch_is_full(view); }
  TrainAllowance allow(const TrainPieceView& view) override {
    if (view.serving_idle) return kIdlePiece;
    if (view.prompt_waits) return {};
    const Duration longest_gap = view.max_itl.value_or(view.tail_step);
    const Duration left = longest_gap - view.decode_step - view.gap_used;
    TrainAllowance allowance{view.max_itl ? left : std::min(left, view.saved), kAnyTokens};
    if (!view.max_itl) allowance.cut_from = left;
    return allowance;
  }
};

// On SMs of its own training costs decode little, for decode waits for memory; prompts need the arithmetic.
class TrainBeside final : public TrainDecision {
 public:
  bool start_step(const TrainStartView& view) override { return batch_is_full(view); }
  TrainAllowance allow(const TrainPieceView& view) override {
    return {view.prompt_waits ? Duration() : Duration::max(), kAnyTokens};
  }
  bool beside_serving() const override { return true; }
};

// Training tokens fill the batch up to the token budget, whatever that does to the step (Miao et al., "FlexLLM", 2024):
// with each step of serving as many tokens of training go through the layers as the step has left of its budget.
class TrainTokenFill final : public TrainDecision {
 public:
  bool start_step(const TrainStartView& view) override { return batch_is_full(view); }
  TrainAllowance allow(const TrainPieceView& view) override {
    if (view.prompt_waits) return {};
    const std::int64_t fill = view.token_budget - view.running;
    if (!view.serving_idle && view.tokens_used >= static_cast<double>(fill)) return {};
    return {Duration::max(), fill};
  }
};

}  // namespace

const std::vector<DecisionName>& record_decisions() {
  static const std::vector<DecisionName> names = {
      {"none", "nothing is recorded"},
      {"minimal", "all that backward needs and element-wise operators cannot rebuild"},
      {"lean", "the minimal set without gate and up"},
      {"adaptive", "as many prompts as training has a use for, minimal or lean, whichever saves more"},
      {"foreseen", "only what will be trained, and of that what is needed soonest (clairvoyant)"}};
  return names;
}

const std::vector<DecisionName>& place_decisions() {
  static const std::vector<DecisionName> names = {
      {"none", "there are no records"},
      {"stay", "on the GPU; dropped under pressure"},
      {"pressure", "on the GPU; copied to the host under pressure, and serving waits for the copy"},
      {"eager", "copied to the host in the background as soon as complete; freed at once under pressure"},
      {"tiered", "on the GPU while there is room, else copied to the host as soon as complete; never on both"}};
  return names;
}

const std::vector<DecisionName>& evict_decisions() {
  static const std::vector<DecisionName> names = {
      {"none", "there are no records"},
      {"oldest", "the oldest first, those whose feedback has come last"},
      {"farthest", "the one needed farthest in the future first (clairvoyant)"}};
  return names;
}

const std::vector<DecisionName>& restore_decisions() {
  static const std::vector<DecisionName> names = {
      {"none", "there are no records"},
      {"recompute", "everything that is not on the GPU is recomputed"},
      {"reload", "everything that has a host copy is reloaded"},
      {"hedged", "reload or recompute as a whole, whichever is done first by estimate"},
      {"race", "recompute goes up from layer 0 while reload comes down from the last layer"},
      {"planned", "per layer and tensor the cheapest of both, over link and compute"}};
  return names;
}

const std::vector<DecisionName>& train_decisions() {
  static const std::vector<DecisionName> names = {
      {"none", "no training"},
      {"whenever", "pieces run one after the other (for GPUs that only train)"},
      {"idle", "pieces run while no request is running"},
      {"headroom",
       "also between decode steps, for a share of their time (stretch) in gaps below the tail of the step times"},
      {"token_fill", "with every step as many tokens, through all layers, as the step leaves of the token budget"},
      {"beside", "while no prompt waits, on a share of the SMs (sm_share) beside decode steps on the rest"}};
  return names;
}

std::unique_ptr<RecordDecision> make_record_decision(std::string_view name) {
  if (name == "none") return nullptr;
  if (name == "minimal") return std::make_unique<RecordAlways>(RecordChoice::kMinimal);
  if (name == "lean") return std::make_unique<RecordAlways>(RecordChoice::kLean);
  if (name == "adaptive") return std::make_unique<RecordAdaptive>();
  check(name == "foreseen", "a record decision that is listed");
  return std::make_unique<RecordForeseen>();
}

std::unique_ptr<PlaceDecision> make_place_decision(std::string_view name) {
  if (name == "none") return nullptr;
  if (name == "stay") return std::make_unique<PlaceStay>();
  if (name == "pressure") return std::make_unique<PlaceUnderPressure>();
  if (name == "eager") return std::make_unique<PlaceEager>();
  check(name == "tiered", "a place decision that is listed");
  return std::make_unique<PlaceTiered>();
}

std::unique_ptr<EvictDecision> make_evict_decision(std::string_view name) {
  if (name == "none") return nullptr;
  if (name == "oldest") return std::make_unique<EvictOldest>();
  check(name == "farthest", "an evict decision that is listed");
  return std::make_unique<EvictFarthest>();
}

std::unique_ptr<RestoreDecision> make_restore_decision(std::string_view name) {
  if (name == "none") return nullptr;
  if (name == "recompute") return std::make_unique<RestoreBy>(recompute_all);
  if (name == "reload") return std::make_unique<RestoreBy>(reload_all);
  if (name == "hedged") return std::make_unique<RestoreBy>(hedged);
  if (name == "race") return std::make_unique<RestoreBy>(race);
  check(name == "planned", "a restore decision that is listed");
  return std::make_unique<RestoreBy>(planned);
}

std::unique_ptr<TrainDecision> make_train_decision(std::string_view name) {
  if (name == "none") return nullptr;
  if (name == "whenever") return std::make_unique<TrainWhenever>();
  if (name == "idle") return std::make_unique<TrainIdle>();
  if (name == "headroom") return std::make_unique<TrainHeadroom>();
  if (name == "beside") return std::make_unique<TrainBeside>();
  check(name == "token_fill", "a train decision that is listed");
  return std::make_unique<TrainTokenFill>();
}

}  // namespace alchemist

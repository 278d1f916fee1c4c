// When a training step starts, and when its pieces run.
#include <algorithm>
#include <limits>

#include "sim/policy/decision_table.h"

namespace alchemist {
namespace {

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
  bool heeds_max_itl() const override { return true; }
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

constexpr DecisionChoice<TrainDecision> kTrainDecisions[] = {
    {{"none", "no training"}, no_decision<TrainDecision>},
    {{"whenever", "pieces run one after the other (for GPUs that only train)"},
     make_choice<TrainDecision, TrainWhenever>},
    {{"idle", "pieces run while no request is running"}, make_choice<TrainDecision, TrainIdle>},
    {{"headroom",
      "also between decode steps, for a share of their time (stretch) in gaps below the tail of the step times"},
     make_choice<TrainDecision, TrainHeadroom>},
    {{"token_fill", "with every step as many tokens, through all layers, as the step leaves of the token budget"},
     make_choice<TrainDecision, TrainTokenFill>},
    {{"beside", "while no prompt waits, on a share of the SMs (sm_share) beside decode steps on the rest"},
     make_choice<TrainDecision, TrainBeside>},
};

}  // namespace

const std::vector<DecisionName>& train_decisions() {
  static const std::vector<DecisionName> names = names_of<TrainDecision>(kTrainDecisions);
  return names;
}

std::unique_ptr<TrainDecision> make_train_decision(std::string_view name) {
  return make_named<TrainDecision>(kTrainDecisions, name);
}

}  // namespace alchemist

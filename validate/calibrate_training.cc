#include "validate/calibrate_training.h"

#include <algorithm>
#include <functional>

#include "validate/training_bench.h"

namespace alchemist {

struct TrainingRounds::Case {
  TrainingBench bench;
  bool is_short;
  TrainingBench::Times times = {};
};

TrainingRounds::TrainingRounds(Decoder& model, const CalibrationConfig& config, PagedMemory arena) {
  const std::int32_t shortest = config.short_sample;
  for (std::int32_t tokens = 64; tokens <= config.micro_batch_tokens; tokens *= 2) {
    cases_.push_back(std::make_unique<Case>(Case{TrainingBench(model, arena, tokens, shortest), true}));
    const std::int32_t longest = std::min(tokens, config.longest_context);
    if (longest <= 2 * shortest) continue;
    cases_.push_back(std::make_unique<Case>(Case{TrainingBench(model, arena, tokens, longest), false}));
  }
}

TrainingRounds::~TrainingRounds() = default;

void TrainingRounds::run() {
  for (const auto& c : cases_) {
    c->bench.run(c->times);
    if (!warm_) c->times.clear();
  }
  warm_ = true;
}

std::vector<PieceCase> TrainingRounds::pieces() const {
  std::vector<PieceCase> pieces;
  for (const auto& c : cases_) {
    const auto add = [&](const char* kind, const Timing& time, double keys) {
      pieces.push_back({kind, c->bench.tokens(), keys, time});
    };
    const Timing backward = timing_of(c->times.at("backward"));
    add("forward", timing_of(c->times.at("forward")), c->bench.keys());
    add("backward", backward, c->bench.keys());
    if (!c->is_short) continue;
    const Timing lean = timing_of(c->times.at("lean"));
    add("rebuild", {lean.p10 - backward.p10, lean.median - backward.median, lean.p90 - backward.p90}, 0);
    add("head", timing_of(c->times.at("head")), 0);
  }
  pieces.push_back({"optimizer", 1, 0, timing_of(cases_.back()->times.at("optimizer"))});
  return pieces;
}

void run_micro_batch(Decoder& model, std::int32_t tokens, PagedMemory arena) {
  TrainingBench bench(model, arena, tokens, tokens);
  bench.begin();
  for (const std::function<void()>& piece : bench.pieces_in_order()) piece();
  model.zero_gradients();
}

}  // namespace alchemist

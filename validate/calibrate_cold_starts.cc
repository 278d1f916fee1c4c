#include "validate/calibrate_cold_starts.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "validate/training_bench.h"

namespace alchemist {
namespace {

constexpr std::int32_t kPieceTokens = 256;  // what fits a gap of a few steps
constexpr std::int32_t kSmallPieceTokens[] = {64, 128, 256};
constexpr int kSteps = 10;     // after which caches are as warm as they get
constexpr int kWarmSteps = 3;  // the last of them: what a step takes then

// Steps behind one cause of cold caches.
struct Series {
  ColdCause cause;
  double amount;
  std::vector<std::vector<double>> excess_us = std::vector<std::vector<double>>(kSteps);  // by step, a sample a round
};

// Times the steps behind a cause; returns what a warm one takes.
double run_series(const std::function<void()>& step, Series& series) {
  std::vector<double> us(kSteps);
  for (double& time : us) time = microseconds_of(step);
  const double warm = timing_of({us.end() - kWarmSteps, us.end()}).median;
  for (std::size_t i = 0; i < us.size(); ++i) series.excess_us[i].push_back(us[i] - warm);
  return warm;
}

// Turns of two pieces and one step, as a busy device takes them: steps that warm up between turns would leave in the
// caches what the next turn does not fill. Behind the last turn come the steps that tell how caches warm up. Every
// piece has weights of its own, so that the second is as warm as any. A piece without another of its kind behind it, as
// the head, is run but not counted.
class TrainingTurns {
 public:
  TrainingTurns(Decoder& model, PagedMemory arena, std::int32_t tokens, std::int32_t length)
      : bench_(model, arena, tokens, length), pieces_(bench_.pieces_in_order()) {}

  void run(const std::function<void()>& step, Series& serving, std::vector<double>& training) {
    bench_.begin();
    const std::size_t head = (pieces_.size() - 1) / 2;
    std::vector<double> first_steps;
    for (std::size_t i = 0; i < pieces_.size();) {
      const bool two = i != head && i + 1 < pieces_.size() && i + 1 != head;
      const double first = microseconds_of(pieces_[i++]);
      if (two) training.push_back(first - microseconds_of(pieces_[i++]));
      if (i < pieces_.size()) first_steps.push_back(microseconds_of(step));
    }
    const double warm = run_series(step, serving);
    for (const double us : first_steps) serving.excess_us.front().push_back(us - warm);
  }

  // Behind a single turn, before which caches were warm: forward's turns, and backward's behind the head.
  void run_from_warm(const std::function<void()>& step, Series& serving) {
    bench_.begin();
    const std::size_t head = (pieces_.size() - 1) / 2;
    for (std::size_t i = 0; i < pieces_.size();) {
      const bool two = i != head && i + 1 < pieces_.size() && i + 1 != head;
      pieces_[i++]();
      if (two) pieces_[i++]();
      Series unused{serving.cause, serving.amount};
      run_series(step, two ? serving : unused);
    }
  }

 private:
  TrainingBench bench_;
  std::vector<std::function<void()>> pieces_;
};

}  // namespace

void measure_cold_starts(Decoder& model, const StepBench& steps, const CalibrationConfig& config, Calibration& result) {
  StepCase shape;
  shape.decodes = std::min(4, config.step_sequences);
  shape.decode_context = config.longest_context / 4;
  shape.head = true;
  const std::function<void()> step = steps.runner(shape);
  const auto turns_of = [&](std::int32_t tokens) {
    tokens = std::min(tokens, config.micro_batch_tokens);
    return std::make_unique<TrainingTurns>(model, steps.arena(), tokens, std::min(tokens, config.longest_context));
  };
  const std::unique_ptr<TrainingTurns> turns = turns_of(kPieceTokens);
  Series behind_turns{ColdCause::kTraining, 0};
  std::vector<std::unique_ptr<TrainingTurns>> single;
  std::vector<Series> behind_single, all;
  for (const std::int32_t tokens : kSmallPieceTokens) {
    single.push_back(turns_of(tokens));
    behind_single.push_back({ColdCause::kTraining, 2.0 * std::min(tokens, config.micro_batch_tokens)});
  }
  std::vector<std::function<void()>> causes;
  for (std::int32_t prompt = config.step_tokens / 16; prompt <= config.step_tokens; prompt *= 2) {
    StepCase chunk;
    chunk.chunks = {{prompt, 0}};
    all.push_back({ColdCause::kPrompt, static_cast<double>(prompt)});
    causes.push_back(steps.runner(chunk));
  }
  for (const int ms : {1, 2, 5, 10, 20, 50}) {
    all.push_back({ColdCause::kIdle, 1e3 * ms});
    causes.emplace_back([ms] { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); });
  }
  std::vector<double> training;
  for (int round = -1; round < config.rounds; ++round) {
    if (round == 0) {  // the one before has touched all memory
      training.clear();
      behind_turns = {behind_turns.cause, behind_turns.amount};
      for (std::vector<Series>* group : {&behind_single, &all}) {
        for (Series& series : *group) series = {series.cause, series.amount};
      }
    }
    turns->run(step, behind_turns, training);
    for (std::size_t i = 0; i < single.size(); ++i) single[i]->run_from_warm(step, behind_single[i]);
    for (std::size_t i = 0; i < all.size(); ++i) {
      causes[i]();
      run_series(step, all[i]);
    }
  }
  all.insert(all.begin(), behind_single.begin(), behind_single.end());
  all.insert(all.begin(), std::move(behind_turns));
  for (Series& series : all) {
    ColdCase& measured = result.cold.emplace_back(ColdCase{series.cause, series.amount, {}});
    for (std::vector<double>& us : series.excess_us) measured.excess.push_back(timing_of(std::move(us)));
  }
  result.training_cold_start = timing_of(training);
}

}  // namespace alchemist

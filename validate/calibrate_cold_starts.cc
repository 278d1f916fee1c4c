#include "validate/calibrate_cold_starts.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "validate/training_bench.h"

namespace alchemist {
namespace {

// What fits a gap of a few steps; turn after turn of them leave caches as cold as they get.
constexpr std::int32_t kPieceTokens = 256;
constexpr int kSteps = 10;     // after which caches are as warm as they get
constexpr int kWarmSteps = 3;  // the last of them: what a step takes then

// Turns of two pieces in warm caches: with ten steps behind each, what takes longest here.
struct SingleTurns {
  std::vector<std::int32_t> tokens;  // of a piece
  std::int32_t layers = TrainingBench::kAllLayers;
};

// A GPU's steps take milliseconds whatever they hold: three sizes of all 32 layers of an 8B model took half of its
// calibration, for an effect of a tenth of a millisecond. So it has the one size that its parts of pieces are least cut
// to, of a few layers.
SingleTurns single_turns_on(const DeviceMemory& device) {
  if (device.is_processor()) return {{64, 128, 256}};
  return {{128}, 4};
}

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

// Turns of two pieces of a layer each. Every piece has weights of its own, so that the second is as warm as any. A
// piece without another of its kind behind it, as the head, is a turn that is run but not counted.
class TrainingTurns {
 public:
  TrainingTurns(Decoder& model, PagedMemory arena, std::int32_t tokens, std::int32_t length, std::int32_t layers)
      : bench_(model, arena, tokens, length, layers), pieces_(bench_.pieces_in_order()) {}

  // One step between two turns, as a busy device takes them: steps that warm up between turns would leave in the caches
  // what the next turn does not fill. Behind the last turn come the steps that tell how caches warm up.
  void run(const std::function<void()>& step, Series& serving, std::vector<double>& training) {
    std::vector<double> first_steps;
    for_each_turn([&](const Piece& first, const Piece* second, bool last) {
      const double us = microseconds_of(first);
      if (second) training.push_back(us - microseconds_of(*second));
      if (!last) first_steps.push_back(microseconds_of(step));
    });
    const double warm = run_series(step, serving);
    for (const double us : first_steps) serving.excess_us.front().push_back(us - warm);
  }

  // Steps that warm up behind every turn.
  void run_one_by_one(const std::function<void()>& step, Series& serving) {
    Series uncounted = serving;
    for_each_turn([&](const Piece& first, const Piece* second, bool) {
      first();
      if (second) (*second)();
      run_series(step, second ? serving : uncounted);
    });
  }

 private:
  using Piece = std::function<void()>;

  // Calls visit(first, second or null, whether it is the last).
  template <class Visit>
  void for_each_turn(Visit&& visit) {
    bench_.begin();
    const std::size_t head = (pieces_.size() - 1) / 2;
    for (std::size_t i = 0; i < pieces_.size();) {
      const bool two = i != head && i + 1 < pieces_.size() && i + 1 != head;
      const std::size_t next = i + (two ? 2 : 1);
      visit(pieces_[i], two ? &pieces_[i + 1] : nullptr, next == pieces_.size());
      i = next;
    }
  }

  TrainingBench bench_;
  std::vector<Piece> pieces_;
};

// A series, and what runs its cause and the steps behind it.
struct Cause {
  Series series;
  std::function<void(Series&)> run;
};

}  // namespace

void measure_cold_starts(Decoder& model, const StepBench& steps, const CalibrationConfig& config, Calibration& result) {
  StepCase shape;
  shape.decodes = std::min(4, config.step_sequences);
  shape.decode_context = config.longest_context / 4;
  shape.head = true;
  const std::function<void()> step = steps.runner(shape);
  const auto turns_of = [&](std::int32_t tokens, std::int32_t layers) {
    return std::make_shared<TrainingTurns>(model, steps.arena(), tokens, std::min(tokens, config.longest_context),
                                           layers);
  };
  std::vector<Cause> causes;
  std::vector<double> training;
  causes.push_back({{ColdCause::kTraining, 0},
                    [&, turns = turns_of(std::min(kPieceTokens, config.micro_batch_tokens), TrainingBench::kAllLayers)](
                        Series& series) { turns->run(step, series, training); }});
  const SingleTurns single_turns = single_turns_on(model.device());
  for (const std::int32_t most : single_turns.tokens) {
    const std::int32_t tokens = std::min(most, config.micro_batch_tokens);
    causes.push_back(
        {{ColdCause::kTraining, 2.0 * tokens},
         [&, turns = turns_of(tokens, single_turns.layers)](Series& series) { turns->run_one_by_one(step, series); }});
  }
  const auto add = [&](ColdCause cause, double amount, std::function<void()> work) {
    causes.push_back({{cause, amount}, [&, work = std::move(work)](Series& series) {
                        work();
                        run_series(step, series);
                      }});
  };
  for (std::int32_t prompt = config.step_tokens / 16; prompt <= config.step_tokens; prompt *= 2) {
    StepCase chunk;
    chunk.chunks = {{prompt, 0}};
    add(ColdCause::kPrompt, prompt, steps.runner(chunk));
  }
  for (const int ms : {1, 2, 5, 10, 20, 50}) {
    add(ColdCause::kIdle, 1e3 * ms, [ms] { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); });
  }
  for (int round = -1; round < config.rounds; ++round) {
    if (round == 0) {  // the one before has touched all memory
      training.clear();
      for (Cause& cause : causes) cause.series = {cause.series.cause, cause.series.amount};
    }
    for (Cause& cause : causes) cause.run(cause.series);
  }
  for (const Cause& cause : causes) {
    ColdCase& measured = result.cold.emplace_back(ColdCase{cause.series.cause, cause.series.amount, {}});
    for (const std::vector<double>& us : cause.series.excess_us) measured.excess.push_back(timing_of(us));
  }
  result.training_cold_start = timing_of(training);
}

}  // namespace alchemist

#include "validate/calibrate_training.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

namespace alchemist {
namespace {

// One micro-batch of samples of equal length, run through all layers again and again; each piece is timed on its own.
class TrainingBench {
 public:
  TrainingBench(Decoder& model, PagedMemory arena, std::int32_t tokens, std::int32_t length)
      : model_(model),
        arena_(arena),
        layers_(static_cast<std::int32_t>(model.options().shape.layers)),
        tokens_(tokens) {
    const RecordLayout layout(model.options().shape);
    const std::int64_t bytes = layout.bytes_per_token(RecordKind::kMinimal) * tokens;
    for (std::int32_t page = 0; page <= bytes / arena.page_bytes; ++page) pages_.push_back(page);
    for (std::int32_t begin = 0; begin < tokens; begin += length) {
      const RowRange rows{begin, std::min(begin + length, tokens)};
      if (rows.end - rows.begin < 2) continue;  // a sample has a prompt and an answer
      rows_.push_back(rows);
      const double n = rows.end - rows.begin;
      keys_ += n * (n + 1) / 2;
      std::vector<std::int32_t>& text = texts_.emplace_back();
      for (std::int32_t i = rows.begin; i < rows.end; ++i) {
        text.push_back(static_cast<std::int32_t>((i * 7919 + 13) % model.options().shape.vocabulary));
      }
    }
    tokens_ = rows_.back().end;
  }

  double keys() const { return keys_; }
  std::int32_t tokens() const { return tokens_; }

  // The pieces of a micro-batch, to be run in this order.
  std::vector<std::function<void()>> pieces_in_order() {
    const std::vector<ActivationPiece> kept = pieces(RecordKind::kMinimal);
    std::vector<std::function<void()>> all;
    for (std::int32_t layer = 0; layer < layers_; ++layer) {
      all.push_back(to_the_end([this, kept, layer] { model_.forward_layer({layer, rows_, {}, kept}); }));
    }
    all.push_back(to_the_end([this] { model_.head({{0, tokens_}, {}}); }));
    for (std::int32_t layer = layers_ - 1; layer >= 0; --layer) {
      all.push_back(to_the_end([this, kept, layer] { model_.backward_layer({layer, {0, tokens_}, kept}); }));
    }
    return all;
  }

  void begin() {
    std::vector<TrainingSample> samples;
    for (const std::vector<std::int32_t>& text : texts_) samples.push_back({text, 1, 1.0 / tokens_, 0});
    model_.begin_micro_batch(samples);
  }

  using Times = std::map<std::string, std::vector<double>>;  // by kind; "lean": backward that rebuilds gate and up
  void run(Times& times) {
    for (const bool lean : {false, true}) {
      begin();
      const std::vector<ActivationPiece> keep = pieces(RecordKind::kMinimal);
      for (std::int32_t layer = 0; layer < layers_; ++layer) {
        time(times["forward"], [&] { model_.forward_layer({layer, rows_, {}, keep}); });
      }
      time(times["head"], [&] { model_.head({{0, tokens_}, {}}); });
      const std::vector<ActivationPiece> kept = pieces(lean ? RecordKind::kLean : RecordKind::kMinimal);
      for (std::int32_t layer = layers_ - 1; layer >= 0; --layer) {
        time(times[lean ? "lean" : "backward"], [&] { model_.backward_layer({layer, {0, tokens_}, kept}); });
      }
    }
    time(times["optimizer"], [&] { model_.optimizer_step(); });
  }

 private:
  // All layers' activations in the same place: their values do not matter to the clock.
  std::vector<ActivationPiece> pieces(RecordKind kind) const {
    std::vector<ActivationPiece> all;
    for (const RowRange& rows : rows_) {
      all.push_back(
          {rows, kind, RecordKind::kMinimal, tokens_, rows.begin, {arena_.base, arena_.page_bytes, pages_, 0}});
    }
    return all;
  }
  std::function<void()> to_the_end(std::function<void()> work) {
    return [this, work = std::move(work)] {
      work();
      model_.device().synchronise();
    };
  }
  void time(std::vector<double>& us, std::function<void()> work) {
    us.push_back(microseconds_of(to_the_end(std::move(work))));
  }

  Decoder& model_;
  PagedMemory arena_;
  std::int32_t layers_;
  std::int32_t tokens_;
  std::vector<std::int32_t> pages_;
  std::vector<RowRange> rows_;
  std::vector<std::vector<std::int32_t>> texts_;
  double keys_ = 0;
};

}  // namespace

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

// Turns of two pieces and several steps: the first of each finds what the other kind has left in the caches. Every
// piece has weights of its own, so that the second is as warm as any; a step uses them all and is warm when those
// before it have brought them back. A piece without another of its kind behind it, as the head, is run but not counted.
void measure_cold_starts(Decoder& model, const StepBench& steps, const CalibrationConfig& config, Calibration& result) {
  constexpr std::int32_t kPieceTokens = 256;  // what fits a gap of a few steps
  constexpr int kWarmingSteps = 6;
  StepCase shape;
  shape.decodes = std::min(4, config.step_sequences);
  shape.decode_context = config.longest_context / 4;
  shape.head = true;
  const std::function<void()> step = steps.runner(shape);
  const std::int32_t tokens = std::min(kPieceTokens, config.micro_batch_tokens);
  TrainingBench bench(model, steps.arena(), tokens, std::min(tokens, config.longest_context));
  const std::vector<std::function<void()>> pieces = bench.pieces_in_order();
  const std::size_t layers = (pieces.size() - 1) / 2;
  std::vector<double> serving, training;
  for (int round = -1; round < config.rounds; ++round) {
    if (round == 0) serving.clear(), training.clear();
    bench.begin();
    for (std::size_t i = 0; i < pieces.size();) {
      const bool two = i != layers && i + 1 < pieces.size() && i + 1 != layers;  // the head has no other beside it
      const double first = microseconds_of(pieces[i++]);
      if (two) training.push_back(first - microseconds_of(pieces[i++]));
      const double cold = microseconds_of(step);
      for (int warming = 0; warming < kWarmingSteps; ++warming) step();
      serving.push_back(cold - microseconds_of(step));
    }
  }
  result.serving_cold_start = timing_of(serving);
  result.training_cold_start = timing_of(training);
}

}  // namespace alchemist

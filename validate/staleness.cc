#include "validate/staleness.h"

#include <fmt/format.h>

#include <cmath>
#include <ostream>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/base/random.h"
#include "validate/device_array.h"

namespace alchemist {
namespace {

// A batch of samples that owns its tokens, and the rows that its prompts and answers take in a micro-batch. An answer's
// rows begin with the last token of the prompt, whose hidden state predicts its first token.
struct Batch {
  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<TrainingSample> samples;
  std::vector<RowRange> prompts, answers, whole;

  Batch(const StalenessOptions& options, std::int64_t vocabulary, std::uint64_t number) {
    constexpr std::int64_t kSuccessors = 4;
    RandomStream random(mix64(options.seed, number), "staleness samples");
    const std::int32_t size = options.prompt_tokens + options.answer_tokens;
    for (std::int32_t s = 0; s < options.samples; ++s) {
      std::vector<std::int32_t>& sample = tokens.emplace_back();
      sample.push_back(static_cast<std::int32_t>(random.uniform_int(0, vocabulary - 1)));
      while (static_cast<std::int32_t>(sample.size()) < size) {
        const auto choice = static_cast<std::uint64_t>(random.uniform_int(0, kSuccessors - 1));
        const std::uint64_t successor = mix64(static_cast<std::uint64_t>(sample.back()), choice);
        sample.push_back(static_cast<std::int32_t>(successor % static_cast<std::uint64_t>(vocabulary)));
      }
      const std::int32_t row = s * size, answer = row + options.prompt_tokens - 1;
      prompts.push_back({row, answer});
      answers.push_back({answer, row + size});
      whole.push_back({row, row + size});
    }
    for (const auto& sample : tokens) {
      samples.push_back({sample, options.prompt_tokens, 1.0 / (options.samples * options.answer_tokens), 0});
    }
  }
};

// Memory for the activations of some rows in every layer.
class Records {
 public:
  Records(Decoder& model, std::span<const RowRange> rows) : rows_(rows.begin(), rows.end()) {
    const ModelShape& shape = model.options().shape;
    const std::int64_t per_token = RecordLayout(shape).bytes_per_token(RecordKind::kMinimal);
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      for (const RowRange& range : rows) memory_.emplace_back(model.device(), (range.end - range.begin) * per_token);
    }
  }

  std::vector<ActivationPiece> layer(std::int32_t layer) const {
    std::vector<ActivationPiece> pieces;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      ActivationPiece piece;
      piece.rows = rows_[i];
      piece.record_tokens = rows_[i].end - rows_[i].begin;
      piece.memory = contiguous_memory(memory_[static_cast<std::size_t>(layer) * rows_.size() + i].data());
      pieces.push_back(piece);
    }
    return pieces;
  }

 private:
  std::vector<RowRange> rows_;
  std::vector<DeviceArray<std::byte>> memory_;  // by layer, then range
};

class Experiment {
 public:
  Experiment(Decoder& model, const StalenessOptions& options)
      : model_(model),
        options_(options),
        layout_(next_batch()),
        recorded_(model, layout_.prompts),
        prompts_(model, layout_.prompts),
        answers_(model, layout_.answers) {}

  std::vector<StalenessPoint> run() {
    std::vector<StalenessPoint> points;
    for (std::int32_t step = 0; step < options_.warm_up_steps; ++step) take_step();
    for (std::int32_t repeat = 0; repeat < options_.repeats; ++repeat) {
      const Batch batch = next_batch();
      model_.begin_micro_batch(batch.samples);
      forward(batch.prompts, recorded_, nullptr);
      for (std::int32_t lag = 0; lag <= options_.max_lag; ++lag) {
        if (lag > 0) take_step();
        points.push_back(compare(batch));
        points.back().lag = lag;
        points.back().repeat = repeat;
      }
    }
    return points;
  }

 private:
  std::int32_t layers() const { return static_cast<std::int32_t>(model_.options().shape.layers); }
  Batch next_batch() { return Batch(options_, model_.options().shape.vocabulary, batches_++); }

  // Rows through all layers, kept in `to`; `known`, if any, holds what is in front of them.
  void forward(std::span<const RowRange> rows, const Records& to, const Records* known) {
    for (std::int32_t layer = 0; layer < layers(); ++layer) {
      const std::vector<ActivationPiece> front = known ? known->layer(layer) : std::vector<ActivationPiece>();
      model_.forward_layer({layer, rows, front, to.layer(layer)});
    }
  }

  // The gradient of a batch; prompts from `stale` if there is any, otherwise by a forward of the same shape.
  HeadResult gradient(const Batch& batch, const Records* stale) {
    model_.zero_gradients();
    model_.begin_micro_batch(batch.samples);
    if (!stale) forward(batch.prompts, prompts_, nullptr);
    const Records& prompts = stale ? *stale : prompts_;
    forward(batch.answers, answers_, &prompts);
    const std::int32_t rows = batch.whole.back().end;
    HeadResult result = model_.head({{0, rows}, {}});
    for (std::int32_t layer = layers() - 1; layer >= 0; --layer) {
      std::vector<ActivationPiece> pieces = prompts.layer(layer), fresh = answers_.layer(layer);
      pieces.insert(pieces.end(), fresh.begin(), fresh.end());
      model_.backward_layer({layer, {0, rows}, pieces});
    }
    return result;
  }

  void take_step() {
    gradient(next_batch(), nullptr);
    model_.optimizer_step();
  }

  StalenessPoint compare(const Batch& batch) {
    gradient(batch, &recorded_);
    const std::vector<double> stale = model_.gradients();
    StalenessPoint point;
    point.loss = gradient(batch, nullptr).loss;
    const std::vector<double> fresh = model_.gradients();
    double dot = 0, stale_square = 0, fresh_square = 0, difference = 0;
    for (std::size_t i = 0; i < fresh.size(); ++i) {
      dot += stale[i] * fresh[i];
      stale_square += stale[i] * stale[i];
      fresh_square += fresh[i] * fresh[i];
      difference += (stale[i] - fresh[i]) * (stale[i] - fresh[i]);
    }
    for (const double square : {fresh_square, stale_square}) {
      if (square > 0 && std::isfinite(square)) continue;
      throw ConfigError(
          "the gradient is zero or not finite: expected weights, adapters and a learning rate that train");
    }
    point.cosine = dot / std::sqrt(stale_square * fresh_square);
    point.relative_error = std::sqrt(difference / fresh_square);
    return point;
  }

  Decoder& model_;
  StalenessOptions options_;
  std::uint64_t batches_ = 0;
  Batch layout_;  // all batches take the same rows
  Records recorded_, prompts_, answers_;
};

}  // namespace

std::vector<StalenessPoint> measure_staleness(Decoder& model, const StalenessOptions& options) {
  check(options.prompt_tokens >= 2 && options.answer_tokens >= 1 && options.samples >= 1 && options.max_lag >= 0,
        "a batch has prompts and answers");
  return Experiment(model, options).run();
}

void write_staleness(std::ostream& out, const std::vector<StalenessPoint>& points) {
  out << "lag,repeat,cosine,relative_error,loss\n";
  for (const StalenessPoint& point : points) {
    out << fmt::format("{},{},{:.9f},{:.6e},{:.6f}\n", point.lag, point.repeat, point.cosine, point.relative_error,
                       point.loss);
  }
}

}  // namespace alchemist

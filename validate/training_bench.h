// Training pieces of given sizes on a real model.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "validate/decoder.h"
#include "validate/record_table.h"

namespace alchemist {

// One micro-batch of samples of equal length, run through layer 0 and the last `layers` layers (all, if there are
// fewer) again and again; each piece is timed on its own.
class TrainingBench {
 public:
  static constexpr std::int32_t kAllLayers = INT32_MAX;

  TrainingBench(Decoder& model, PagedMemory arena, std::int32_t tokens, std::int32_t length,
                std::int32_t layers = kAllLayers)
      : model_(model),
        arena_(arena),
        end_(static_cast<std::int32_t>(model.options().shape.layers)),
        first_(end_ - std::min(end_, layers)),
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

  // The pieces of a micro-batch, to be run in this order behind begin().
  std::vector<std::function<void()>> pieces_in_order() {
    const std::vector<ActivationPiece> kept = pieces(RecordKind::kMinimal);
    std::vector<std::function<void()>> all;
    for (std::int32_t layer = first_; layer < end_; ++layer) {
      all.push_back(to_the_end([this, kept, layer] { model_.forward_layer({layer, rows_, {}, kept}); }));
    }
    all.push_back(to_the_end([this] { model_.head({{0, tokens_}, {}}); }));
    for (std::int32_t layer = end_; layer-- > first_;) {
      all.push_back(to_the_end([this, kept, layer] { model_.backward_layer({layer, {0, tokens_}, kept}); }));
    }
    return all;
  }

  void begin() {
    std::vector<TrainingSample> samples;
    for (const std::vector<std::int32_t>& text : texts_) samples.push_back({text, 1, 1.0 / tokens_, 0});
    model_.begin_micro_batch(samples);
  }

  // Is given each piece to run, to its end, and its kind; "lean": backward that rebuilds gate and up.
  using Runner = std::function<void(const std::string& kind, const std::function<void()>& work)>;
  // Every kind.
  void run(const Runner& runner) {
    for (const bool lean : {false, true}) {
      begin();
      const std::vector<ActivationPiece> keep = pieces(RecordKind::kMinimal);
      forward(runner, keep);
      runner("head", to_the_end([&] { model_.head({{0, tokens_}, {}}); }));
      const std::vector<ActivationPiece> kept = pieces(lean ? RecordKind::kLean : RecordKind::kMinimal);
      backward(runner, lean ? "lean" : "backward", kept);
    }
    runner("optimizer", to_the_end([&] { model_.optimizer_step(); }));
  }
  // Forward and backward of layers alone; leaves gradients.
  void run_layers(const Runner& runner) {
    begin();
    const std::vector<ActivationPiece> kept = pieces(RecordKind::kMinimal);
    forward(runner, kept);
    backward(runner, "backward", kept);
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
  void forward(const Runner& runner, const std::vector<ActivationPiece>& kept) {
    const auto run = [&](std::int32_t layer) {
      runner("forward", to_the_end([&] { model_.forward_layer({layer, rows_, {}, kept}); }));
    };
    // What enters the first of the last layers is of a kind with what leaves it: arithmetic on zeros takes less power.
    if (first_ > 0) run(0);
    for (std::int32_t layer = first_; layer < end_; ++layer) run(layer);
  }
  void backward(const Runner& runner, const std::string& kind, const std::vector<ActivationPiece>& kept) {
    for (std::int32_t layer = end_; layer-- > first_;) {
      runner(kind, to_the_end([&] { model_.backward_layer({layer, {0, tokens_}, kept}); }));
    }
  }
  std::function<void()> to_the_end(std::function<void()> work) {
    return [this, work = std::move(work)] {
      work();
      model_.device().synchronise();
    };
  }

  Decoder& model_;
  PagedMemory arena_;
  std::int32_t end_;    // of the layers
  std::int32_t first_;  // of the last layers, which are run
  std::int32_t tokens_;
  std::vector<std::int32_t> pages_;
  std::vector<RowRange> rows_;
  std::vector<std::vector<std::int32_t>> texts_;
  double keys_ = 0;
};

}  // namespace alchemist

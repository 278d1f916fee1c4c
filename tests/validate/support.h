// A small decoder with everything that large ones have, its memory, and the ways of training it once.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/cpu/device.h"
#include "sim/base/random.h"
#include "sim/model/training_cost.h"
#include "validate/decoder.h"

namespace alchemist {

// Grouped queries, a vocabulary that is no multiple of anything, odd widths.
template <class T>
ModelShape small_shape() {
  return {"small", 3, 24, 20, 4, 2, 6, 37, 64, false, false, static_cast<std::int64_t>(sizeof(T))};
}

template <class T>
DecoderOptions small_options(TrainingMethod method, bool head_norms = false) {
  DecoderOptions options;
  options.shape = small_shape<T>();
  options.shape.qk_norm = head_norms;
  options.training.method = method;
  options.training.lora_rank = 3;
  options.limits = {.step_tokens = 64, .step_sequences = 8, .micro_batch_tokens = 64, .block_size = 4};
  options.lora_alpha = 6;
  options.seed = 7;
  return options;
}

// Prices of training where any will do.
inline TrainingCost training_cost() {
  HardwareSpec hardware;
  hardware.matrix_flops = hardware.vector_flops = 1e12;
  hardware.memory_bandwidth = 1e11;
  hardware.memory_efficiency = hardware.matrix_efficiency = hardware.attention_efficiency = 1;
  ModelShape model;
  model.layers = 2;
  model.hidden = 64;
  model.intermediate = 128;
  model.heads = model.kv_heads = 4;
  model.head_dim = 16;
  model.vocabulary = 256;
  model.dtype_bytes = 4;
  return {hardware, model, TrainingShape(), 1};
}

// A decoder, on the CPU if nothing else is said, with an arena of pages, and trained parameters away from their special
// starts: with an adapter's B at zero, the gradient of its A would be zero.
template <class T>
class TestDecoder {
 public:
  static constexpr std::int32_t kPages = 160;

  explicit TestDecoder(const DecoderOptions& options,
                       std::unique_ptr<Device<T>> device = cpu::make_device<T>(std::int64_t{1} << 30))
      : device_(std::move(device)), model_(make_decoder(*device_, options)) {
    arena_ = static_cast<std::byte*>(device_->allocate(kPages * model_->page_bytes()));
    model_->use_arena(arena_);
    RandomStream random(1, "parameters");
    std::vector<double> parameters = model_->trained_parameters();
    for (double& value : parameters) value += 0.2 * random.normal();
    model_->set_trained_parameters(parameters);
  }
  ~TestDecoder() {
    for (void* memory : records_) device_->free(memory);
    device_->free(arena_);
  }

  Decoder& operator*() { return *model_; }
  Decoder* operator->() { return model_.get(); }
  Device<T>& device() { return *device_; }
  std::byte* arena() { return arena_; }
  RecordLayout layout() const { return RecordLayout(model_->options().shape); }

  // Memory for a record of `tokens` tokens in one layer.
  RecordMemory new_record(RecordKind kind, std::int64_t tokens) {
    records_.push_back(device_->allocate(tokens * layout().bytes_per_token(kind)));
    return contiguous_memory(static_cast<std::byte*>(records_.back()));
  }
  // For every layer.
  std::vector<RecordMemory> new_records(RecordKind kind, std::int64_t tokens) {
    std::vector<RecordMemory> result;
    for (std::int64_t l = 0; l < model_->options().shape.layers; ++l) result.push_back(new_record(kind, tokens));
    return result;
  }

 private:
  std::unique_ptr<Device<T>> device_;
  std::unique_ptr<Decoder> model_;
  std::byte* arena_ = nullptr;
  std::vector<void*> records_;
};

inline std::vector<std::int32_t> random_tokens(std::int64_t count, std::int64_t vocabulary, std::uint64_t seed) {
  RandomStream random(seed, "tokens");
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<std::int32_t>(random.uniform_int(0, vocabulary - 1)));
  return tokens;
}

// Samples of several lengths that own their tokens.
struct Samples {
  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<TrainingSample> list;
  std::int32_t rows = 0;

  Samples(std::initializer_list<std::pair<std::int32_t, std::int32_t>> prompt_and_answer, std::int64_t vocabulary) {
    std::int32_t targets = 0;
    for (const auto& [prompt, answer] : prompt_and_answer) {
      tokens.push_back(random_tokens(prompt + answer, vocabulary, 100 + tokens.size()));
      rows += prompt + answer;
      targets += answer;
    }
    std::size_t i = 0;
    for (const auto& [prompt, answer] : prompt_and_answer) list.push_back({tokens[i++], prompt, 1.0 / targets, 0});
  }
  std::vector<RowRange> whole() const {
    std::vector<RowRange> ranges;
    std::int32_t row = 0;
    for (const auto& sample : tokens) {
      ranges.push_back({row, row + static_cast<std::int32_t>(sample.size())});
      row = ranges.back().end;
    }
    return ranges;
  }
};

// Pieces of every layer: pieces[l].
using LayerPieces = std::vector<std::vector<ActivationPiece>>;

// The forward of `rows` through all layers, kept as `kind`; `known[l]` are the pieces in front of them, if any.
template <class T>
LayerPieces run_forward(TestDecoder<T>& model, std::span<const RowRange> rows, RecordKind kind,
                        const LayerPieces& known = {}) {
  LayerPieces result(static_cast<std::size_t>(model->options().shape.layers));
  for (std::size_t l = 0; l < result.size(); ++l) {
    for (const RowRange& range : rows) {
      const std::int32_t count = range.end - range.begin;
      result[l].push_back({range, kind, kind, count, 0, model.new_record(kind, count)});
    }
    model->forward_layer(
        {static_cast<std::int32_t>(l), rows, known.empty() ? std::span<const ActivationPiece>{} : known[l], result[l]});
  }
  return result;
}

// The head and all backwards.
template <class T>
HeadResult run_backward(TestDecoder<T>& model, const LayerPieces& pieces, std::int32_t rows) {
  const HeadResult result = model->head({{0, rows}, pieces.back()});
  for (auto layer = static_cast<std::int32_t>(pieces.size()) - 1; layer >= 0; --layer) {
    model->backward_layer({layer, {0, rows}, pieces[static_cast<std::size_t>(layer)]});
  }
  return result;
}

// Loss with all rows fresh; leaves the gradient in the model.
template <class T>
HeadResult train_fresh(TestDecoder<T>& model, const Samples& samples, RecordKind kind = RecordKind::kMinimal) {
  model->zero_gradients();
  model->begin_micro_batch(samples.list);
  const LayerPieces pieces = run_forward(model, samples.whole(), kind);
  return run_backward(model, pieces, samples.rows);
}

}  // namespace alchemist

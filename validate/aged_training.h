// Training from records of a known age: batches of something that can be learned, memory for their activations, and the
// gradient that a batch gives with what was recorded of it. What staleness and learning curves have in common.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "validate/decoder.h"
#include "validate/device_array.h"

namespace alchemist {

struct SampleBatchShape {
  std::int32_t samples = 4;
  std::int32_t prompt_tokens = 96;  // >= 2
  std::int32_t answer_tokens = 32;  // >= 1
  std::int64_t alphabet = 0;        // how many of the vocabulary's tokens samples are made of; 0: all
  std::uint64_t source = 0;         // which successors a token has
  std::uint64_t seed = 0;           // which of them come

  std::int32_t sample_tokens() const { return prompt_tokens + answer_tokens; }
  std::int32_t rows() const { return samples * sample_tokens(); }
};

// A batch of samples that owns its tokens, and the rows that its prompts and answers take in a micro-batch. An answer's
// rows begin with the last token of the prompt, whose hidden state predicts its first token. Each token has four
// possible successors, drawn evenly: a model that has learned them all has a loss of log 4.
struct SampleBatch {
  SampleBatch(const SampleBatchShape& shape, std::int64_t vocabulary, std::uint64_t number);

  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<TrainingSample> samples;  // the objective is the mean over the targets of the batch
  std::vector<RowRange> prompts, answers, whole;
};

// What of a batch is recorded: prompts, as prefill does, or answers too, as decode can.
enum class RecordedRows : std::uint8_t { prompts, all };

// Whether the backward of recorded rows may have the weights of their record. Where norms of heads are trained and
// answers fresh it may not: the answers' forward makes the keys that it looks at with the norm of now (RecordTensor).
bool backward_can_be_recorded(const DecoderOptions& options, RecordedRows recorded);

// Device memory for the activations of some rows in every layer, as minimal records.
class RowRecords {
 public:
  RowRecords(Decoder& model, std::span<const RowRange> rows);
  std::vector<ActivationPiece> layer(std::int32_t layer) const;
  // Of some of the ranges, by their number in order.
  std::vector<ActivationPiece> layer(std::int32_t layer, std::span<const std::int32_t> ranges) const;

 private:
  std::vector<RowRange> rows_;
  std::vector<DeviceArray<std::byte>> memory_;  // by layer, then range
};

class AgedTraining {
 public:
  // The model must have been made for training, hold such a batch in a micro-batch (both checked), and outlive this.
  AgedTraining(Decoder& model, const SampleBatchShape& shape, RecordedRows recorded);

  SampleBatch batch(std::uint64_t number) const;
  RowRecords make_records() const;  // room for one batch; all batches take the same rows

  // What serving would keep of the batch under the weights of now, or of some of its samples (ascending).
  void record(const SampleBatch& batch, const RowRecords& to);
  void record(const SampleBatch& batch, const RowRecords& to, std::span<const std::int32_t> samples);
  // The batch's gradient, in place of any other: the recorded rows are taken as they were recorded, the others are run
  // under the weights of now. Backward has the weights of now too, which is the gradient of nothing once they are not
  // those of the record, or for the recorded rows of each sample what they were `recorded_under`
  // (Decoder::copy_trained(); null: the weights of now): then it is that of the loss of several sets of weights, each
  // for its own rows. With `recorded_under` backward_can_be_recorded() must hold, and with full fine-tuning it is the
  // same for all samples.
  HeadResult gradient(const SampleBatch& batch, const RowRecords& records, const std::byte* recorded_under = nullptr);
  HeadResult gradient(const SampleBatch& batch, const RowRecords& records,
                      std::span<const std::byte* const> recorded_under);
  // Its loss under the weights of now, by a fresh forward through `scratch`. Gradients are zero afterwards.
  double loss(const SampleBatch& batch, const RowRecords& scratch);

 private:
  HeadResult head(const SampleBatch& batch, const RowRecords& records, std::span<const RowsUnder> under = {});
  std::vector<ActivationPiece> pieces_of(std::int32_t layer, const RowRecords& records) const;
  HeadResult gradient_of_adapters(const SampleBatch& batch, const RowRecords& records,
                                  std::span<const std::byte* const> recorded_under);
  HeadResult gradient_of_all_weights(const SampleBatch& batch, const RowRecords& records,
                                     const std::byte* recorded_under);
  void backward_in_turns(std::int32_t layer, std::span<const ActivationPiece> pieces, const std::byte* recorded_under);
  std::int32_t layers() const { return static_cast<std::int32_t>(model_.options().shape.layers); }
  const std::vector<RowRange>& recorded_rows() const;
  void forward(std::span<const RowRange> rows, const RowRecords& to, std::span<const std::int32_t> ranges,
               const RowRecords* known);

  Decoder& model_;
  SampleBatchShape shape_;
  RecordedRows recorded_;
  SampleBatch layout_;
  RowRecords answers_;
  std::vector<std::int32_t> all_samples_;  // 0, 1, ...
};

}  // namespace alchemist

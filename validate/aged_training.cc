#include "validate/aged_training.h"

#include <algorithm>
#include <numeric>

#include "sim/base/check.h"
#include "sim/base/random.h"

namespace alchemist {

SampleBatch::SampleBatch(const SampleBatchShape& shape, std::int64_t vocabulary, std::uint64_t number) {
  constexpr std::int64_t kSuccessors = 4;
  const std::int64_t alphabet = shape.alphabet > 0 ? std::min(shape.alphabet, vocabulary) : vocabulary;
  RandomStream random(mix64(shape.seed, number), "staleness samples");
  const std::int32_t size = shape.sample_tokens();
  for (std::int32_t s = 0; s < shape.samples; ++s) {
    std::vector<std::int32_t>& sample = tokens.emplace_back();
    sample.push_back(static_cast<std::int32_t>(random.uniform_int(0, alphabet - 1)));
    while (static_cast<std::int32_t>(sample.size()) < size) {
      const auto choice =
          static_cast<std::uint64_t>(random.uniform_int(0, kSuccessors - 1)) + shape.source * kSuccessors;
      const std::uint64_t successor = mix64(static_cast<std::uint64_t>(sample.back()), choice);
      sample.push_back(static_cast<std::int32_t>(successor % static_cast<std::uint64_t>(alphabet)));
    }
    const std::int32_t row = s * size, answer = row + shape.prompt_tokens - 1;
    prompts.push_back({row, answer});
    answers.push_back({answer, row + size});
    whole.push_back({row, row + size});
  }
  for (const auto& sample : tokens) {
    samples.push_back({sample, shape.prompt_tokens, 1.0 / (shape.samples * shape.answer_tokens), 0});
  }
}

bool backward_can_be_recorded(const DecoderOptions& options, RecordedRows recorded) {
  const bool trains_head_norms = options.shape.qk_norm && options.training.method == TrainingMethod::full;
  return recorded == RecordedRows::all || !trains_head_norms;
}

RowRecords::RowRecords(Decoder& model, std::span<const RowRange> rows) : rows_(rows.begin(), rows.end()) {
  const ModelShape& shape = model.options().shape;
  const std::int64_t per_token = RecordLayout(shape).bytes_per_token(RecordKind::kMinimal);
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    for (const RowRange& range : rows) memory_.emplace_back(model.device(), (range.end - range.begin) * per_token);
  }
}

std::vector<ActivationPiece> RowRecords::layer(std::int32_t layer, std::span<const std::int32_t> ranges) const {
  std::vector<ActivationPiece> pieces;
  for (const std::int32_t range : ranges) {
    const auto i = static_cast<std::size_t>(range);
    ActivationPiece piece;
    piece.rows = rows_[i];
    piece.record_tokens = rows_[i].end - rows_[i].begin;
    piece.memory = contiguous_memory(memory_[static_cast<std::size_t>(layer) * rows_.size() + i].data());
    pieces.push_back(piece);
  }
  return pieces;
}

std::vector<ActivationPiece> RowRecords::layer(std::int32_t layer) const {
  std::vector<std::int32_t> all(rows_.size());
  std::iota(all.begin(), all.end(), 0);
  return this->layer(layer, all);
}

AgedTraining::AgedTraining(Decoder& model, const SampleBatchShape& shape, RecordedRows recorded)
    : model_(model), shape_(shape), recorded_(recorded), layout_(batch(0)), answers_(model, layout_.answers) {
  check(shape.prompt_tokens >= 2 && shape.answer_tokens >= 1 && shape.samples >= 1, "a batch has prompts and answers");
  all_samples_.resize(static_cast<std::size_t>(shape.samples));
  std::iota(all_samples_.begin(), all_samples_.end(), 0);
}

SampleBatch AgedTraining::batch(std::uint64_t number) const {
  return SampleBatch(shape_, model_.options().shape.vocabulary, number);
}

const std::vector<RowRange>& AgedTraining::recorded_rows() const {
  return recorded_ == RecordedRows::all ? layout_.whole : layout_.prompts;
}

RowRecords AgedTraining::make_records() const { return RowRecords(model_, recorded_rows()); }

void AgedTraining::record(const SampleBatch& batch, const RowRecords& to) { record(batch, to, all_samples_); }

void AgedTraining::record(const SampleBatch& batch, const RowRecords& to, std::span<const std::int32_t> samples) {
  std::vector<RowRange> rows;
  for (const std::int32_t sample : samples) rows.push_back(recorded_rows()[static_cast<std::size_t>(sample)]);
  model_.begin_micro_batch(batch.samples);
  forward(rows, to, samples, nullptr);
}

// All rows through what they lack of the forward, then the head, whose gradient is left for the layers below.
HeadResult AgedTraining::head(const SampleBatch& batch, const RowRecords& records, std::span<const RowsUnder> under) {
  const bool all = recorded_ == RecordedRows::all;
  model_.zero_gradients();
  model_.begin_micro_batch(batch.samples, false, under);
  if (!all) forward(batch.answers, answers_, all_samples_, &records);
  return model_.head({{0, shape_.rows()}, all ? records.layer(layers() - 1) : std::vector<ActivationPiece>()});
}

std::vector<ActivationPiece> AgedTraining::pieces_of(std::int32_t layer, const RowRecords& records) const {
  std::vector<ActivationPiece> pieces = records.layer(layer);
  if (recorded_ == RecordedRows::all) return pieces;
  const std::vector<ActivationPiece> fresh = answers_.layer(layer);
  pieces.insert(pieces.end(), fresh.begin(), fresh.end());
  return pieces;
}

HeadResult AgedTraining::gradient(const SampleBatch& batch, const RowRecords& records,
                                  const std::byte* recorded_under) {
  return gradient(batch, records, std::vector(static_cast<std::size_t>(shape_.samples), recorded_under));
}

HeadResult AgedTraining::gradient(const SampleBatch& batch, const RowRecords& records,
                                  std::span<const std::byte* const> recorded_under) {
  check(std::ssize(recorded_under) == shape_.samples, "each sample has its weights");
  const bool any = std::ranges::any_of(recorded_under, [](const std::byte* copy) { return copy != nullptr; });
  check(!any || backward_can_be_recorded(model_.options(), recorded_),
        "keys of the record have the norm that they were recorded under");
  if (model_.options().training.method == TrainingMethod::lora) {
    return gradient_of_adapters(batch, records, recorded_under);
  }
  const std::byte* first = recorded_under.front();
  check(std::ranges::all_of(recorded_under, [&](const std::byte* copy) { return copy == first; }),
        "all samples have the same of all weights");
  return gradient_of_all_weights(batch, records, first);
}

HeadResult AgedTraining::gradient_of_adapters(const SampleBatch& batch, const RowRecords& records,
                                              std::span<const std::byte* const> recorded_under) {
  std::vector<RowsUnder> under;
  for (std::size_t sample = 0; sample < recorded_under.size(); ++sample) {
    if (recorded_under[sample]) under.push_back({recorded_rows()[sample], recorded_under[sample]});
  }
  HeadResult result = head(batch, records, under);
  for (std::int32_t layer = layers() - 1; layer >= 0; --layer) {
    model_.backward_layer({layer, {0, shape_.rows()}, pieces_of(layer, records)});
  }
  return result;
}

HeadResult AgedTraining::gradient_of_all_weights(const SampleBatch& batch, const RowRecords& records,
                                                 const std::byte* recorded_under) {
  const bool all = recorded_ == RecordedRows::all;
  if (all) model_.read_trained_from(recorded_under);
  HeadResult result = head(batch, records);
  for (std::int32_t layer = layers() - 1; layer >= 0; --layer) {
    const std::vector<ActivationPiece> pieces = pieces_of(layer, records);
    if (all || !recorded_under) {
      model_.backward_layer({layer, {0, shape_.rows()}, pieces});
    } else {
      backward_in_turns(layer, pieces, recorded_under);
    }
  }
  model_.read_trained_from(nullptr);
  return result;
}

// Answers under the weights of now, prompts under those that they were recorded under: from the last row on.
void AgedTraining::backward_in_turns(std::int32_t layer, std::span<const ActivationPiece> pieces,
                                     const std::byte* recorded_under) {
  for (std::size_t i = layout_.prompts.size(); i-- > 0;) {
    model_.read_trained_from(nullptr);
    model_.backward_layer({layer, layout_.answers[i], pieces});
    model_.read_trained_from(recorded_under);
    model_.backward_layer({layer, layout_.prompts[i], pieces});
  }
}

double AgedTraining::loss(const SampleBatch& batch, const RowRecords& scratch) {
  record(batch, scratch);
  const double loss = head(batch, scratch).loss;
  model_.zero_gradients();
  return loss;
}

// Rows through all layers, kept in these ranges of `to`; `known`, if any, holds what is in front of them.
void AgedTraining::forward(std::span<const RowRange> rows, const RowRecords& to, std::span<const std::int32_t> ranges,
                           const RowRecords* known) {
  for (std::int32_t layer = 0; layer < layers(); ++layer) {
    const std::vector<ActivationPiece> front = known ? known->layer(layer) : std::vector<ActivationPiece>();
    model_.forward_layer({layer, rows, front, to.layer(layer, ranges)});
  }
}

}  // namespace alchemist

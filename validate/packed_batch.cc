#include "validate/packed_batch.h"

#include "sim/base/check.h"

namespace alchemist {

PackedBatch::PackedBatch(std::span<const TrainingSample> samples, const DecoderOptions& options) {
  for (const TrainingSample& sample : samples) {
    const auto begin = rows(), size = static_cast<std::int32_t>(sample.tokens.size());
    check(sample.prompt_tokens >= 1 && sample.prompt_tokens < size, "a sample has a prompt and an answer");
    check(size <= options.shape.max_position, "a sample is no longer than the model's positions");
    for (std::int32_t i = 0; i < size; ++i) {
      const std::int32_t token = sample.tokens[static_cast<std::size_t>(i)];
      check(token >= 0 && token < options.shape.vocabulary, "a token is in the vocabulary");
      tokens_.push_back(token);
      positions_.push_back(i);
    }
    samples_.push_back({{begin, begin + size},
                        {begin + sample.prompt_tokens - 1, begin + size - 1},
                        sample.loss_weight,
                        sample.reference_logprob});
  }
  check(!samples_.empty(), "a micro-batch has samples");
  check(rows() <= options.limits.micro_batch_tokens, "a micro-batch keeps to its limit of tokens");
  if (options.training.objective != TrainingObjective::dpo) return;
  check(samples_.size() % 2 == 0, "preference samples come in pairs");
  for (const Sample& sample : samples_) {
    check(sample.loss_weight == samples_.front().loss_weight, "preference pairs have one weight");
  }
}

const PackedBatch::Sample& PackedBatch::sample_of(std::int32_t row) const {
  const auto after = std::upper_bound(samples_.begin(), samples_.end(), row,
                                      [](std::int32_t r, const Sample& sample) { return r < sample.rows.begin; });
  check(row >= 0 && row < rows() && after != samples_.begin(), "a row of the micro-batch");
  return *(after - 1);
}

void PackedBatch::append_attention_rows(RowRange rows, std::int32_t q_origin, std::vector<AttentionRows>& to) const {
  for (std::int32_t row = rows.begin; row < rows.end;) {
    const Sample& sample = sample_of(row);
    const std::int32_t end = std::min(rows.end, sample.rows.end);
    to.push_back({row - q_origin, end - row, sample.rows.begin, end - sample.rows.begin});
    row = end;
  }
}

}  // namespace alchemist

// The samples of one micro-batch, packed one behind the other, as tables on the host.
#pragma once

#include <algorithm>
#include <vector>

#include "validate/decoder.h"

namespace alchemist {

class PackedBatch {
 public:
  PackedBatch() = default;
  // Checks the samples against the model's limits.
  PackedBatch(std::span<const TrainingSample> samples, const DecoderOptions& options);

  struct Sample {
    RowRange rows;
    RowRange targets;  // rows in front of an answer's token
    double loss_weight = 1;
    double reference_logprob = 0;
  };
  std::int32_t rows() const { return static_cast<std::int32_t>(tokens_.size()); }
  const std::vector<Sample>& samples() const { return samples_; }
  std::span<const std::int32_t> tokens(RowRange rows) const { return part(tokens_, rows); }
  std::span<const std::int32_t> positions(RowRange rows) const { return part(positions_, rows); }
  const Sample& sample_of(std::int32_t row) const;
  // The queries `rows` as attention takes them, one run for each sample they touch. Rows of q count from `q_origin`.
  void append_attention_rows(RowRange rows, std::int32_t q_origin, std::vector<AttentionRows>& to) const;

 private:
  static std::span<const std::int32_t> part(const std::vector<std::int32_t>& all, RowRange rows) {
    return std::span(all).subspan(static_cast<std::size_t>(rows.begin),
                                  static_cast<std::size_t>(rows.end - rows.begin));
  }
  std::vector<Sample> samples_;
  std::vector<std::int32_t> tokens_;
  std::vector<std::int32_t> positions_;  // in the sample
};

inline RowRange intersection(RowRange a, RowRange b) { return {std::max(a.begin, b.begin), std::min(a.end, b.end)}; }
inline bool is_empty(RowRange rows) { return rows.begin >= rows.end; }

// What of a piece lies within `rows`; empty rows if nothing does.
inline ActivationPiece trimmed(ActivationPiece piece, RowRange rows) {
  const RowRange part = intersection(piece.rows, rows);
  piece.first_token += part.begin - piece.rows.begin;
  piece.rows = part;
  return piece;
}

}  // namespace alchemist

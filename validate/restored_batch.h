// A micro-batch over real memory: which of its rows come from where, layer by layer, and the calls of the model that
// its training pieces stand for.
//
// The working memory that the node gave it holds, layer after layer, the activations of fresh tokens; behind them,
// where fresh tokens attend to tokens on the host, the keys and values of a few layers of these, in turn; and behind
// them as many slots for a layer of the tokens on the host as fit: of the layers that are recomputed each has its own,
// those that come over the link take turns. If fresh activations leave, a few layers of them take turns as well, and
// the host has memory for all that leave, layer after layer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/node/host.h"
#include "validate/decoder.h"
#include "validate/kept_weights.h"
#include "validate/record_table.h"

namespace alchemist {

class RestoredBatch {
 public:
  // `conversations`: the tokens of each sample. The records must exist; what is needed of their tables is copied. Takes
  // pages of the pool for what leaves, until end(). With `kept` whatever is done with what was recorded has the
  // adapters that it was recorded under.
  RestoredBatch(const MicroBatchWork& work, std::vector<std::vector<std::int32_t>> conversations, RecordTable& records,
                const KeptWeights* kept = nullptr);

  // On the thread of the model. begin() first, and optimizer pieces are not for a batch.
  void begin(Decoder& model) const;
  void run(const TrainingPiece& piece, Decoder& model) const;

  // What brings a layer of the tokens on the host to the device, fresh ones that have left included.
  std::vector<CopySegment> copy_in(std::int32_t layer) const;
  // What brings their keys and values alone, ahead of the layer's forward. Precondition: it is not recomputed.
  std::vector<CopySegment> copy_in_keys(std::int32_t layer) const;
  // What sends a layer of the fresh tokens to the host.
  std::vector<CopySegment> copy_out(std::int32_t layer) const;

  // The pages for what leaves go back to the pool.
  void end(HostPool& pool);

  std::int64_t rows() const { return rows_; }

 private:
  enum class Source : std::uint8_t { kFresh, kResident, kHost };
  // Rows of one sample that lie together.
  struct Stretch {
    RowRange rows;
    Source source = Source::kFresh;
    // Of their chunk, unless fresh.
    RecordKind layout = RecordKind::kMinimal;
    std::int32_t record_tokens = 0;
    std::int32_t first_token = 0;
    std::int64_t offset = 0;             // of the chunk's first layer
    std::size_t pages = 0;               // index of the record's pages
    std::int64_t rows_before = 0;        // fresh, host: rows of the same source in earlier stretches
    const std::byte* trained = nullptr;  // as in RowsUnder
    std::int32_t size() const { return rows.end - rows.begin; }
  };
  struct Sample {
    std::int32_t first_row = 0;
    std::int32_t prompt_tokens = 0;
    std::vector<std::int32_t> tokens;
  };

  void add_recorded(const RecordedTokens& part, std::int32_t first_row, const RecordTable& records,
                    const KeptWeights* kept);
  void add_fresh(RowRange rows);
  std::int64_t token_bytes(RecordKind kind) const { return layout_.bytes_per_token(kind); }
  RecordKind kept() const;
  RecordMemory working(std::int64_t offset) const;
  RecordMemory recorded(const Stretch& stretch, std::int32_t layer) const;
  RecordMemory fresh(const Stretch& stretch, std::int32_t layer) const;
  RecordMemory sent(const Stretch& stretch, std::int32_t layer) const;
  bool leaves(std::int32_t layer) const { return layer < layers_ - fresh_layers_; }
  std::int64_t fresh_bytes() const { return fresh_rows_ * token_bytes(kept()); }              // of a layer
  std::int64_t key_bytes() const { return host_rows_ * token_bytes(RecordKind::kKeyValue); }  // of a layer
  std::int64_t slots_begin() const { return fresh_bytes() * fresh_layers_ + key_bytes() * key_layers_; }
  bool is_run(const Stretch& stretch, std::int32_t layer) const;
  RecordMemory keys(const Stretch& stretch, std::int32_t layer) const;
  RecordMemory slot(const Stretch& stretch, std::int32_t layer) const;
  std::int32_t with_gate_up(const Stretch& stretch, std::int32_t layer) const;
  void append_pieces(const Stretch& stretch, std::int32_t layer, std::vector<ActivationPiece>& pieces) const;
  std::vector<RowRange> rows_of(const TrainingPiece& forward) const;
  void forward(const TrainingPiece& piece, Decoder& model) const;
  std::int32_t rows_with(std::int64_t targets) const;
  void head(const TrainingPiece& piece, Decoder& model) const;
  void backward(const TrainingPiece& piece, Decoder& model) const;

  RecordLayout layout_;
  std::int32_t layers_;  // that it goes through
  bool resumes_;
  PagedMemory arena_;
  PagedMemory host_;
  FreshActivations fresh_;
  std::int32_t fresh_layers_;  // on the device at once
  std::int32_t recompute_below_;
  std::int32_t key_layers_;            // whose keys and values are on the device at once
  std::vector<double> gate_up_share_;  // by layer
  std::vector<std::int32_t> working_pages_;
  std::vector<std::int32_t> sent_pages_;  // on the host
  std::vector<std::vector<std::int32_t>> record_pages_;
  std::vector<Sample> samples_;
  std::vector<Stretch> stretches_;  // by row
  std::int64_t rows_ = 0;
  std::int64_t fresh_rows_ = 0;
  std::int64_t host_rows_ = 0;
  std::int64_t slots_ = 0;
  std::int64_t targets_ = 0;
  std::int64_t step_targets_;
};

}  // namespace alchemist

#include "validate/restored_batch.h"

#include <algorithm>

#include "sim/base/check.h"
#include "validate/packed_batch.h"

namespace alchemist {

RestoredBatch::RestoredBatch(const MicroBatchWork& work, std::vector<std::vector<std::int32_t>> conversations,
                             RecordTable& records, const KeptWeights* kept)
    : layout_(records.layout()),
      layers_(work.layers),
      resumes_(work.resumes),
      arena_(records.arena()),
      host_(records.host()),
      fresh_(work.fresh),
      fresh_layers_(work.fresh == FreshActivations::kOffload ? work.fresh_layers : work.layers),
      recompute_below_(work.recompute_below),
      key_layers_(work.key_layers),
      step_targets_(work.step_targets) {
  check(step_targets_ > 0, "a training step has targets");
  check(fresh_layers_ > 0 && fresh_layers_ <= layers_, "a layer of fresh activations has a place");
  for (const LayerPlan& layer : work.restore) gate_up_share_.push_back(layer.gate_up_share);
  gate_up_share_.resize(static_cast<std::size_t>(layers_), 1);
  for (const BlockId page : work.pages) working_pages_.push_back(static_cast<std::int32_t>(page.value()));
  std::size_t next = 0;
  for (std::size_t i = 0; i < work.samples.size(); ++i) {
    const Feedback& sample = work.samples[i];
    const auto first_row = static_cast<std::int32_t>(rows_);
    const std::int32_t tokens = sample.prompt_tokens + sample.output_tokens;
    samples_.push_back({first_row, sample.prompt_tokens, std::move(conversations[i])});
    targets_ += sample.output_tokens;
    std::int32_t covered = 0;
    for (; next < work.recorded.size() && work.recorded[next].sample == static_cast<std::int32_t>(i); ++next) {
      const RecordedTokens& part = work.recorded[next];
      add_fresh({first_row + covered, first_row + part.first_token});
      add_recorded(part, first_row, records, kept);
      covered = part.first_token + part.tokens;
    }
    add_fresh({first_row + covered, first_row + tokens});
    rows_ += tokens;
  }
  check(fresh_rows_ == 0 || host_rows_ == 0 || recompute_below_ == layers_ || key_layers_ > 0,
        "keys to which fresh tokens attend have a place");
  const std::int64_t room = arena_.page_bytes * static_cast<std::int64_t>(working_pages_.size()) - slots_begin();
  slots_ =
      host_rows_ > 0 ? std::min<std::int64_t>(layers_, room / (host_rows_ * token_bytes(RecordKind::kMinimal))) : 0;
  check(room >= 0 && (host_rows_ == 0 || slots_ > recompute_below_ || slots_ == layers_),
        "the working memory holds what the node puts into it");
  sent_pages_ = records.pool().take(fresh_bytes() * (layers_ - fresh_layers_));
}

void RestoredBatch::end(HostPool& pool) {
  pool.give_back(sent_pages_);
  sent_pages_.clear();
}

RecordKind RestoredBatch::kept() const {
  return fresh_ == FreshActivations::kCheckpoint ? RecordKind::kInput : RecordKind::kMinimal;
}

void RestoredBatch::add_fresh(RowRange rows) {
  if (rows.begin >= rows.end) return;
  Stretch stretch;
  stretch.rows = rows;
  stretch.rows_before = fresh_rows_;
  fresh_rows_ += stretch.size();
  stretches_.push_back(stretch);
}

void RestoredBatch::add_recorded(const RecordedTokens& part, std::int32_t first_row, const RecordTable& records,
                                 const KeptWeights* kept) {
  const RecordTable::Entry& entry = records.entry(part.record);
  record_pages_.push_back(part.on_host ? entry.host_pages : entry.pages);
  const std::int32_t to_row = first_row + part.first_token - part.record_token;
  const auto add = [&](const RecordChunk& chunk, std::int32_t begin, std::int32_t end, const std::byte* trained) {
    if (begin >= end) return;
    Stretch stretch;
    stretch.rows = {to_row + begin, to_row + end};
    stretch.source = part.on_host ? Source::kHost : Source::kResident;
    stretch.layout = entry.kind;
    stretch.record_tokens = chunk.tokens;
    stretch.first_token = begin - chunk.first_token;
    stretch.offset = chunk.offset;
    stretch.pages = record_pages_.size() - 1;
    stretch.trained = trained;
    if (part.on_host) {
      stretch.rows_before = host_rows_;
      host_rows_ += stretch.size();
    }
    stretches_.push_back(stretch);
  };
  for (const RecordChunk& chunk : entry.chunks) {
    std::int32_t begin = std::max(chunk.first_token, part.record_token);
    const std::int32_t end = std::min(chunk.first_token + chunk.tokens, part.record_token + part.tokens);
    for (std::size_t i = 0; kept && i < entry.computed.size(); ++i) {
      const bool last = i + 1 == entry.computed.size();
      const std::int32_t to = last ? end : std::min(end, entry.computed[i + 1].first_token);
      if (begin >= to) continue;
      add(chunk, begin, to, kept->find(entry.computed[i].under));
      begin = to;
    }
    add(chunk, begin, end, nullptr);
  }
}

RecordMemory RestoredBatch::working(std::int64_t offset) const {
  return {arena_.base, arena_.page_bytes, working_pages_, offset};
}

RecordMemory RestoredBatch::recorded(const Stretch& stretch, std::int32_t layer) const {
  const PagedMemory& memory = stretch.source == Source::kHost ? host_ : arena_;
  const std::int64_t layer_bytes = token_bytes(stretch.layout) * stretch.record_tokens;
  return {memory.base, memory.page_bytes, record_pages_[stretch.pages], stretch.offset + layer * layer_bytes};
}

RecordMemory RestoredBatch::fresh(const Stretch& stretch, std::int32_t layer) const {
  return working(layer % fresh_layers_ * fresh_bytes() + stretch.rows_before * token_bytes(kept()));
}

// Where the same lie on the host, of a layer that leaves.
RecordMemory RestoredBatch::sent(const Stretch& stretch, std::int32_t layer) const {
  return {host_.base, host_.page_bytes, sent_pages_, layer * fresh_bytes() + stretch.rows_before * token_bytes(kept())};
}

// Forward of the layer whose place they take is over.
RecordMemory RestoredBatch::keys(const Stretch& stretch, std::int32_t layer) const {
  return working(fresh_layers_ * fresh_bytes() + layer % key_layers_ * key_bytes() +
                 stretch.rows_before * token_bytes(RecordKind::kKeyValue));
}

// Layers below recompute_below have a slot each; the others come down from the last, each into the slot of the layer
// that backward has left longest ago.
RecordMemory RestoredBatch::slot(const Stretch& stretch, std::int32_t layer) const {
  const std::int64_t turning = slots_ - recompute_below_;
  const std::int64_t index =
      layer < recompute_below_ ? layer : recompute_below_ + (layers_ - 1 - layer) % std::max<std::int64_t>(1, turning);
  return working(slots_begin() + (index * host_rows_ + stretch.rows_before) * token_bytes(RecordKind::kMinimal));
}

// Of the stretch's tokens on the host, the last ones whose gate and up come over the link. Summed over the batch they
// are the planned share, rounded down.
std::int32_t RestoredBatch::with_gate_up(const Stretch& stretch, std::int32_t layer) const {
  if (stretch.layout == RecordKind::kLean) return 0;
  const double share = gate_up_share_[static_cast<std::size_t>(layer)];
  const auto up_to = [share](std::int64_t rows) {
    return static_cast<std::int64_t>(static_cast<double>(rows) * share);
  };
  return static_cast<std::int32_t>(up_to(stretch.rows_before + stretch.size()) - up_to(stretch.rows_before));
}

std::vector<CopySegment> RestoredBatch::copy_out(std::int32_t layer) const {
  check(leaves(layer), "the last layers stay");
  std::vector<CopySegment> segments;
  for (const Stretch& stretch : stretches_) {
    if (stretch.source != Source::kFresh) continue;
    append_segments(sent(stretch, layer), fresh(stretch, layer), stretch.size() * token_bytes(kept()), segments);
  }
  return segments;
}

std::vector<CopySegment> RestoredBatch::copy_in_keys(std::int32_t layer) const {
  check(key_layers_ > 0 && layer >= recompute_below_, "fresh tokens attend to what is on the host");
  const std::int64_t row = layout_.row_bytes(RecordTensor::kKeyValue);
  std::vector<CopySegment> segments;
  for (const Stretch& stretch : stretches_) {
    if (stretch.source != Source::kHost) continue;
    RecordMemory source = recorded(stretch, layer);
    source.offset +=
        layout_.range(stretch.layout, RecordTensor::kKeyValue, stretch.record_tokens).begin + stretch.first_token * row;
    append_segments(keys(stretch, layer), source, stretch.size() * row, segments);
  }
  return segments;
}

std::vector<CopySegment> RestoredBatch::copy_in(std::int32_t layer) const {
  std::vector<CopySegment> segments;
  for (const Stretch& stretch : stretches_) {
    if (stretch.source == Source::kFresh && leaves(layer)) {
      append_segments(fresh(stretch, layer), sent(stretch, layer), stretch.size() * token_bytes(kept()), segments);
    }
    if (stretch.source != Source::kHost || layer < recompute_below_) continue;
    const RecordMemory from = recorded(stretch, layer), to = slot(stretch, layer);
    const std::int32_t gate_up = with_gate_up(stretch, layer);
    for (const RecordTensor tensor : layout_.tensors(stretch.layout)) {
      const std::int64_t row = layout_.row_bytes(tensor);
      const std::int32_t skipped = tensor == RecordTensor::kGateUp ? stretch.size() - gate_up : 0;
      RecordMemory source = from, target = to;
      source.offset +=
          layout_.range(stretch.layout, tensor, stretch.record_tokens).begin + (stretch.first_token + skipped) * row;
      target.offset += layout_.range(stretch.layout, tensor, stretch.size()).begin + skipped * row;
      append_segments(target, source, (stretch.size() - skipped) * row, segments);
    }
  }
  return segments;
}

// The activations of a stretch in a layer, as they lie on the device.
void RestoredBatch::append_pieces(const Stretch& stretch, std::int32_t layer,
                                  std::vector<ActivationPiece>& pieces) const {
  if (stretch.source == Source::kResident) {
    pieces.push_back({stretch.rows, stretch.layout, stretch.layout, stretch.record_tokens, stretch.first_token,
                      recorded(stretch, layer)});
  } else if (stretch.source == Source::kFresh) {
    pieces.push_back({stretch.rows, kept(), kept(), stretch.size(), 0, fresh(stretch, layer)});
  } else if (layer < recompute_below_) {
    pieces.push_back(
        {stretch.rows, RecordKind::kMinimal, RecordKind::kMinimal, stretch.size(), 0, slot(stretch, layer)});
  } else {
    const std::int32_t lean = stretch.size() - with_gate_up(stretch, layer);
    const RowRange first{stretch.rows.begin, stretch.rows.begin + lean}, rest{first.end, stretch.rows.end};
    const RecordMemory memory = slot(stretch, layer);
    if (lean > 0) pieces.push_back({first, RecordKind::kLean, stretch.layout, stretch.size(), 0, memory});
    if (rest.begin < rest.end) pieces.push_back({rest, stretch.layout, stretch.layout, stretch.size(), lean, memory});
  }
}

void RestoredBatch::begin(Decoder& model) const {
  std::vector<TrainingSample> samples;
  for (const Sample& sample : samples_) {
    TrainingSample call;
    call.tokens = sample.tokens;
    call.prompt_tokens = sample.prompt_tokens;
    call.loss_weight = 1.0 / static_cast<double>(step_targets_);
    samples.push_back(call);
  }
  std::vector<RowsUnder> under;
  for (const Stretch& stretch : stretches_) {
    if (!stretch.trained) continue;
    const bool goes_on =
        !under.empty() && under.back().rows.end == stretch.rows.begin && under.back().trained == stretch.trained;
    goes_on ? void(under.back().rows.end = stretch.rows.end) : under.push_back({stretch.rows, stretch.trained});
  }
  model.begin_micro_batch(samples, resumes_, under);
}

void RestoredBatch::run(const TrainingPiece& piece, Decoder& model) const {
  switch (piece.kind) {
    case PieceKind::kForward:
      return forward(piece, model);
    case PieceKind::kHead:
      return head(piece, model);
    case PieceKind::kBackward:
      return backward(piece, model);
    case PieceKind::kOptimizer:
    case PieceKind::kReference:
    case PieceKind::kReferenceHead:
      check(false, "a piece that a real micro-batch has");
  }
}

// Forward of the layer computes its tokens.
bool RestoredBatch::is_run(const Stretch& stretch, std::int32_t layer) const {
  return stretch.source == Source::kFresh || (stretch.source == Source::kHost && layer < recompute_below_);
}

// A piece counts the rows that are run in its layer, through the batch.
std::vector<RowRange> RestoredBatch::rows_of(const TrainingPiece& forward) const {
  std::vector<RowRange> rows;
  std::int64_t before = 0;
  for (const Stretch& stretch : stretches_) {
    if (!is_run(stretch, forward.layer)) continue;
    const std::int64_t begin = std::max(forward.first_token, before);
    const std::int64_t end = std::min(forward.first_token + forward.tokens, before + stretch.size());
    const std::int64_t to_row = stretch.rows.begin - before;
    before += stretch.size();
    if (begin >= end) continue;
    rows.push_back({static_cast<std::int32_t>(begin + to_row), static_cast<std::int32_t>(end + to_row)});
  }
  return rows;
}

void RestoredBatch::forward(const TrainingPiece& piece, Decoder& model) const {
  const std::vector<RowRange> rows = rows_of(piece);
  std::vector<ActivationPiece> known, keep;
  for (const Stretch& stretch : stretches_) {
    if (is_run(stretch, piece.layer)) {
      std::vector<ActivationPiece> whole;
      append_pieces(stretch, piece.layer, whole);
      for (const RowRange& part : rows) {
        const ActivationPiece kept = trimmed(whole.front(), part);
        if (!is_empty(kept.rows)) keep.push_back(kept);
      }
    } else if (piece.first_token == 0 && stretch.source == Source::kResident) {
      append_pieces(stretch, piece.layer, known);
    } else if (piece.first_token == 0) {
      known.push_back(
          {stretch.rows, RecordKind::kKeyValue, RecordKind::kKeyValue, stretch.size(), 0, keys(stretch, piece.layer)});
    }
  }
  model.forward_layer({piece.layer, rows, known, keep});
}

// Behind the row of the last of the first `targets` targets; behind all rows for all targets.
std::int32_t RestoredBatch::rows_with(std::int64_t targets) const {
  if (targets == targets_) return static_cast<std::int32_t>(rows_);
  for (const Sample& sample : samples_) {
    const std::int64_t own = static_cast<std::int64_t>(sample.tokens.size()) - sample.prompt_tokens;
    if (targets == 0) return sample.first_row;
    if (targets <= own) return sample.first_row + sample.prompt_tokens - 1 + static_cast<std::int32_t>(targets);
    targets -= own;
  }
  check(false, "a piece has no more targets than the batch");
  return 0;
}

// The tokens of its pieces are targets; of what the call covers, rows without one have no gradient from the head. Rows
// with a target that were not run forward: the last of a prompt whose record is whole.
void RestoredBatch::head(const TrainingPiece& piece, Decoder& model) const {
  const RowRange part{piece.first_token == 0 ? 0 : rows_with(piece.first_token),
                      rows_with(piece.first_token + piece.tokens)};
  const std::int32_t last = layers_ - 1;
  std::vector<ActivationPiece> pieces;
  for (const Stretch& stretch : stretches_) {
    if (is_run(stretch, last)) continue;
    const ActivationPiece whole{stretch.rows,          stretch.layout,      stretch.layout,
                                stretch.record_tokens, stretch.first_token, recorded(stretch, last)};
    const auto sample = std::upper_bound(samples_.begin(), samples_.end(), stretch.rows.begin,
                                         [](std::int32_t row, const Sample& s) { return row < s.first_row; }) -
                        1;
    const RowRange targets{std::max(part.begin, sample->first_row + sample->prompt_tokens - 1), part.end};
    const ActivationPiece wanted = trimmed(whole, targets);
    if (!is_empty(wanted.rows)) pieces.push_back(wanted);
  }
  model.head({part, pieces});
}

// Backward goes from the last row down.
void RestoredBatch::backward(const TrainingPiece& piece, Decoder& model) const {
  const auto end = static_cast<std::int32_t>(rows_ - piece.first_token);
  std::vector<ActivationPiece> pieces;
  if (piece.first_token == 0) {
    for (const Stretch& stretch : stretches_) append_pieces(stretch, piece.layer, pieces);
  }
  model.backward_layer({piece.layer, {end - static_cast<std::int32_t>(piece.tokens), end}, pieces});
}

}  // namespace alchemist

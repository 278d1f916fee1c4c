#include "validate/training_run.h"

#include "sim/base/check.h"

namespace alchemist {

template <class T>
TrainingRun<T>::TrainingRun(Device<T>& device, const DecoderOptions& options, const Weights<T>& weights,
                            LayerRun<T>& layers)
    : device_(device),
      options_(options),
      weights_(weights),
      layers_(layers),
      metadata_(device),
      records_(device, options.shape, metadata_),
      memory_(device, options, options.limits.micro_batch_tokens, true),
      stream_(device, options.limits.micro_batch_tokens * options.shape.hidden),
      aside_(device, options.limits.micro_batch_tokens * options.shape.hidden),
      kv_(device, options.limits.micro_batch_tokens * 2 * options.shape.kv_width()),
      d_k_(device, options.limits.micro_batch_tokens * options.shape.kv_width()),
      d_v_(device, options.limits.micro_batch_tokens * options.shape.kv_width()),
      delta_(device, options.limits.micro_batch_tokens * options.shape.heads),
      head_(device, options, weights, metadata_) {}

template <class T>
void TrainingRun<T>::begin(std::span<const TrainingSample> samples, bool resumes, std::span<const RowsUnder> under) {
  if (resumes && holds_gradient_) std::swap(stream_, aside_);
  gradient_is_aside_ = resumes && (holds_gradient_ || gradient_is_aside_);
  check(resumes == gradient_is_aside_, "a backward that resumes has come to a gradient");
  holds_gradient_ = false;
  batch_ = PackedBatch(samples, options_);
  check(under.empty() || options_.training.method == TrainingMethod::lora, "rows have adapters of their own");
  under_.assign(under.begin(), under.end());
  kept_weights_.clear();
  std::int32_t end = 0;
  for (const RowsUnder& part : under_) {
    check(part.rows.begin >= std::exchange(end, part.rows.end) && !is_empty(part.rows) && end <= batch_.rows() &&
              part.trained,
          "rows with adapters of their own ascend");
    if (!kept_weights_.contains(part.trained)) kept_weights_[part.trained] = weights_.tensors_with(part.trained);
  }
  kv_layer_.reset();
  backward_layer_.reset();
  backward_pieces_.clear();
  final_known_.assign(static_cast<std::size_t>(batch_.rows()), false);
}

template <class T>
void TrainingRun<T>::copy_rows(const T* from, std::int64_t from_stride, T* to, std::int64_t to_stride,
                               std::int64_t width, std::int64_t rows) {
  constexpr auto kElement = static_cast<std::int64_t>(sizeof(T));
  device_.run(RowCopy{reinterpret_cast<const std::byte*>(from), reinterpret_cast<std::byte*>(to), rows,
                      width * kElement, from_stride * kElement, to_stride * kElement});
}

template <class T>
std::vector<typename TrainingRun<T>::CompactRange> TrainingRun<T>::compact(std::span<const RowRange> rows) const {
  std::vector<CompactRange> ranges;
  std::int32_t begin = 0, last = 0;
  for (const RowRange& range : rows) {
    check(range.begin >= last && range.begin < range.end && range.end <= batch_.sample_of(range.begin).rows.end,
          "rows of a forward ascend, each range in one sample");
    ranges.push_back({range, begin});
    begin += range.end - range.begin;
    last = range.end;
  }
  check(!ranges.empty(), "a forward has rows");
  return ranges;
}

template <class T>
std::vector<AdapterRows<T>> TrainingRun<T>::adapters_of(std::span<const RowRange> rows) const {
  std::vector<AdapterRows<T>> parts;
  if (under_.empty()) return parts;
  std::int32_t count = 0;
  const auto append = [&](std::int32_t size, const ModelTensors<const T*>* weights) {
    if (size <= 0) return;
    if (parts.empty() || parts.back().weights != weights) parts.push_back({{count, count}, weights});
    parts.back().rows.end = count += size;
  };
  for (const RowRange& range : rows) {
    std::int32_t row = range.begin;
    for (const RowsUnder& part : under_) {
      const RowRange own = intersection(part.rows, range);
      if (is_empty(own)) continue;
      append(own.begin - row, &weights_.tensors());
      append(own.end - own.begin, &kept_weights_.at(part.trained));
      row = own.end;
    }
    append(range.end - row, &weights_.tensors());
  }
  return parts;
}

template <class T>
void TrainingRun<T>::forward_layer(const LayerForward& call) {
  check(call.layer >= 0 && call.layer < options_.shape.layers, "a layer of the model");
  metadata_.reset();
  const std::vector<CompactRange> ranges = compact(call.rows);
  const RowRange& last = ranges.back().rows;
  const std::int64_t count = ranges.back().begin + last.end - last.begin;
  const LayerActivations<T>& act = memory_.activations();
  const std::vector<ActivationPiece> pieces = kept(call, ranges);
  const std::vector<KeptRows> by_operators = records_.kept_by_operators(pieces);
  const std::vector<AdapterRows<T>> under = adapters_of(call.rows);
  bring_input(call.layer, ranges);
  layers_.to_qkv(call.layer, act, memory_.scratch(), count, by_operators, under);
  share_keys_and_values(call, ranges);
  attend_forward(ranges);
  records_.keep_rest(pieces, act);
  layers_.to_gate_up(call.layer, act, memory_.scratch(), count, by_operators, under);
  layers_.to_output(call.layer, act, memory_.scratch(), memory_.scratch().normed, count, by_operators, under);
  take_output(call.layer, ranges);
}

template <class T>
void TrainingRun<T>::bring_input(std::int32_t layer, const std::vector<CompactRange>& ranges) {
  const LayerActivations<T>& act = memory_.activations();
  const std::int64_t hidden = options_.shape.hidden;
  std::vector<std::int32_t> tokens, positions;
  for (const CompactRange& range : ranges) {
    const auto t = batch_.tokens(range.rows), p = batch_.positions(range.rows);
    tokens.insert(tokens.end(), t.begin(), t.end());
    positions.insert(positions.end(), p.begin(), p.end());
    if (layer == 0) continue;
    copy_rows(stream_.data() + range.rows.begin * hidden, hidden, act.x + range.begin * hidden, hidden, hidden,
              range.rows.end - range.rows.begin);
  }
  const auto count = static_cast<std::int64_t>(tokens.size());
  device_.upload(act.positions, positions.data(), count * 4);
  if (layer == 0) {
    device_.run(EmbeddingForward<T>{metadata_.upload(tokens), weights_.tensors().embedding, act.x, count, hidden});
  }
}

// Keys and values of all rows that attention may look at, at their rows of kv_.
template <class T>
void TrainingRun<T>::share_keys_and_values(const LayerForward& call, const std::vector<CompactRange>& ranges) {
  const std::int64_t width = 2 * options_.shape.kv_width();
  if (kv_layer_ != call.layer) {
    kv_layer_ = call.layer;
    kv_known_.assign(static_cast<std::size_t>(batch_.rows()), false);
  }
  const auto mark = [&](RowRange rows) {
    std::fill(kv_known_.begin() + rows.begin, kv_known_.begin() + rows.end, true);
  };
  for (const ActivationPiece& piece : call.known) {
    check(piece.kind != RecordKind::kInput, "a piece of known rows has keys and values");
    T* rows = kv_.data() + piece.rows.begin * width;
    records_.read_keys_and_values(piece, rows);
    if (options_.shape.qk_norm) {
      layers_.make_keys(call.layer, rows, width, metadata_.upload(batch_.positions(piece.rows)),
                        piece.rows.end - piece.rows.begin);
    }
    mark(piece.rows);
  }
  for (const CompactRange& range : ranges) {
    const LayerActivations<T> act = memory_.activations().from_row(options_.shape, range.begin);
    T* rows = kv_.data() + range.rows.begin * width;
    const std::int64_t kv_width = options_.shape.kv_width(), count = range.rows.end - range.rows.begin;
    if (act.linear == act.qkv) {  // keys and values side by side
      copy_rows(act.keys(options_.shape), qkv_width(), rows, width, width, count);
    } else {
      copy_rows(act.keys(options_.shape), qkv_width(), rows, width, kv_width, count);
      copy_rows(act.values(options_.shape), qkv_width(), rows + kv_width, width, kv_width, count);
    }
    mark(range.rows);
  }
  for (const CompactRange& range : ranges) {
    const auto begin = kv_known_.begin() + batch_.sample_of(range.rows.begin).rows.begin;
    check(std::all_of(begin, kv_known_.begin() + range.rows.end, [](bool known) { return known; }),
          "keys and values in front of a row are known");
  }
}

template <class T>
void TrainingRun<T>::attend_forward(const std::vector<CompactRange>& ranges) {
  std::vector<AttentionRows> rows;
  for (const CompactRange& range : ranges) {
    batch_.append_attention_rows(range.rows, range.rows.begin - range.begin, rows);
  }
  run_attention(rows, memory_.activations(), kv_.data(), kv_.data() + options_.shape.kv_width(),
                2 * options_.shape.kv_width());
}

template <class T>
AttentionShape TrainingRun<T>::attention_shape(const std::vector<AttentionRows>& rows) {
  AttentionShape shape;
  shape.heads = static_cast<std::int32_t>(options_.shape.heads);
  shape.kv_heads = static_cast<std::int32_t>(options_.shape.kv_heads);
  shape.head_dim = static_cast<std::int32_t>(options_.shape.head_dim);
  const UploadedRows<AttentionRows> uploaded = upload_rows(metadata_, rows);
  shape.rows = uploaded.rows;
  shape.sequences = uploaded.count;
  shape.max_queries = uploaded.max_queries;
  shape.max_keys = uploaded.max_keys;
  return shape;
}

// `keys`, `values`: in rows of `kv_stride` elements.
template <class T>
void TrainingRun<T>::run_attention(const std::vector<AttentionRows>& rows, const LayerActivations<T>& act,
                                   const T* keys, const T* values, std::int64_t kv_stride) {
  device_.run(AttentionForward<T>{attention_shape(rows), act.qkv, keys, values, act.attention, act.lse, qkv_width(),
                                  kv_stride});
}

// What is kept of this layer, as rows of its buffers.
template <class T>
std::vector<ActivationPiece> TrainingRun<T>::kept(const LayerForward& call, const std::vector<CompactRange>& ranges) {
  std::vector<ActivationPiece> pieces(call.keep.begin(), call.keep.end());
  for (ActivationPiece& piece : pieces) {
    const auto range = std::find_if(ranges.begin(), ranges.end(), [&](const CompactRange& r) {
      return piece.rows.begin >= r.rows.begin && piece.rows.end <= r.rows.end;
    });
    check(range != ranges.end(), "what is kept was computed");
    const std::int32_t moved = range->begin - range->rows.begin;
    piece.rows = {piece.rows.begin + moved, piece.rows.end + moved};
  }
  std::sort(pieces.begin(), pieces.end(),
            [](const ActivationPiece& a, const ActivationPiece& b) { return a.rows.begin < b.rows.begin; });
  return pieces;
}

template <class T>
void TrainingRun<T>::take_output(std::int32_t layer, const std::vector<CompactRange>& ranges) {
  const std::int64_t hidden = options_.shape.hidden;
  for (const CompactRange& range : ranges) {
    copy_rows(memory_.scratch().normed + range.begin * hidden, hidden, stream_.data() + range.rows.begin * hidden,
              hidden, hidden, range.rows.end - range.rows.begin);
    if (layer + 1 < options_.shape.layers) continue;
    std::fill(final_known_.begin() + range.rows.begin, final_known_.begin() + range.rows.end, true);
  }
}

template <class T>
HeadResult TrainingRun<T>::head(const HeadCall& call) {
  check(call.part.begin >= 0 && call.part.end <= batch_.rows() && !is_empty(call.part), "rows of the micro-batch");
  metadata_.reset();
  rebuild_final_rows(call);
  holds_gradient_ = true;
  return head_.run(batch_, call.part, stream_.data());
}

// The outputs of the last layer for rows that have a target but were not run: from their activations in that layer.
template <class T>
void TrainingRun<T>::rebuild_final_rows(const HeadCall& call) {
  const std::int32_t last = static_cast<std::int32_t>(options_.shape.layers) - 1;
  for (const PackedBatch::Sample& sample : batch_.samples()) {
    for (const ActivationPiece& piece : call.last_layer) {
      RowRange rows = intersection(intersection(sample.targets, call.part), piece.rows);
      while (!is_empty(rows) && final_known_[static_cast<std::size_t>(rows.begin)]) ++rows.begin;
      if (is_empty(rows)) continue;
      check(piece.kind != RecordKind::kInput, "a piece of the last layer has its middle");
      const ActivationPiece part = trimmed(piece, rows);
      const LayerActivations<T> act = memory_.activations().from_row(options_.shape, rows.begin);
      const std::int64_t count = rows.end - rows.begin;
      const std::vector<AdapterRows<T>> under = adapters_of(rows);
      records_.copy(part, RecordTensor::kXMid, act, RecordDirection::kFromRecord);
      if (piece.kind == RecordKind::kLean) {
        records_.copy(part, RecordTensor::kRstd2, act, RecordDirection::kFromRecord);
        layers_.rebuild_gate_up(last, act, memory_.scratch(), count, under);
      } else {
        records_.copy(part, RecordTensor::kGateUp, act, RecordDirection::kFromRecord);
      }
      layers_.to_output(last, act, memory_.scratch(), stream_.data() + rows.begin * options_.shape.hidden, count, {},
                        under);
      std::fill(final_known_.begin() + rows.begin, final_known_.begin() + rows.end, true);
    }
    const RowRange wanted = intersection(sample.targets, call.part);
    for (std::int32_t row = wanted.begin; row < wanted.end; ++row) {
      check(final_known_[static_cast<std::size_t>(row)], "the final hidden state of a target is at hand");
    }
  }
}

template class TrainingRun<float>;
template class TrainingRun<double>;
template class TrainingRun<BFloat16>;

}  // namespace alchemist

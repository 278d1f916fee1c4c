// The backward half of TrainingRun: restores a layer's activations and runs its backward, whole or in parts, each of
// which takes the time of its own rows.
#include "sim/base/check.h"
#include "validate/training_run.h"

namespace alchemist {
namespace {

// Adjacent pieces of one kind as one range, so that what is rebuilt is rebuilt in few, large products.
std::vector<RowRange> ranges_of(std::span<const ActivationPiece> pieces, RecordKind kind) {
  std::vector<RowRange> ranges;
  for (const ActivationPiece& piece : pieces) {
    if (piece.kind != kind) continue;
    if (!ranges.empty() && ranges.back().end == piece.rows.begin) {
      ranges.back().end = piece.rows.end;
    } else {
      ranges.push_back(piece.rows);
    }
  }
  return ranges;
}

}  // namespace

template <class T>
void TrainingRun<T>::backward_layer(const LayerBackward& call) {
  check(call.layer >= 0 && call.layer < options_.shape.layers, "a layer of the model");
  metadata_.reset();
  if (std::exchange(gradient_is_aside_, false)) std::swap(stream_, aside_);
  holds_gradient_ = true;
  if (backward_layer_ != call.layer) begin_backward(call);
  check(call.part.end == backward_end_ && call.part.begin >= 0 && !is_empty(call.part),
        "parts of a backward follow each other from the last row on");
  restore(call.layer, call.part);
  const std::int64_t rows = call.part.end - call.part.begin;
  const LayerActivations<T> act = memory_.activations().from_row(options_.shape, call.part.begin);
  T* gradient = stream_.data() + call.part.begin * options_.shape.hidden;
  const std::vector<AdapterRows<T>> under = adapters_of(call.part);
  layers_.backward_mlp(call.layer, act, memory_.scratch(), gradient, rows, under);
  backward_attention(call.part);
  layers_.backward_qkv(call.layer, act, memory_.scratch(), gradient, rows, under);
  if (call.layer == 0 && weights_.gradients().embedding) {
    device_.run(EmbeddingBackward<T>{metadata_.upload(batch_.tokens(call.part)), gradient,
                                     weights_.gradients().embedding, rows, options_.shape.hidden,
                                     options_.shape.vocabulary});
  }
  backward_end_ = call.part.begin;
}

// Brings what every part needs of all rows into the layer's buffers: keys and values, to which later rows attend. Of
// rows of which x alone is there they are computed, and the queries with them.
template <class T>
void TrainingRun<T>::begin_backward(const LayerBackward& call) {
  const LayerActivations<T>& act = memory_.activations();
  std::vector<bool> covered(static_cast<std::size_t>(batch_.rows()), false);
  for (const ActivationPiece& piece : call.activations) {
    check(piece.rows.begin >= 0 && piece.rows.end <= batch_.rows(), "pieces are rows of the micro-batch");
    for (std::int32_t row = piece.rows.begin; row < piece.rows.end; ++row) {
      check(!covered[static_cast<std::size_t>(row)], "each row has one piece");
      covered[static_cast<std::size_t>(row)] = true;
    }
    const RecordTensor needed = piece.kind == RecordKind::kInput ? RecordTensor::kX : RecordTensor::kKeyValue;
    records_.copy(piece, needed, act.from_row(options_.shape, piece.rows.begin), RecordDirection::kFromRecord);
  }
  check(std::all_of(covered.begin(), covered.end(), [](bool c) { return c; }), "each row has a piece");
  const RowRange all{0, batch_.rows()};
  device_.upload(act.positions, batch_.positions(all).data(), batch_.rows() * 4);
  for (const ActivationPiece& piece : call.activations) {
    if (piece.kind == RecordKind::kInput) continue;
    layers_.make_keys(call.layer, act.from_row(options_.shape, piece.rows.begin), piece.rows.end - piece.rows.begin);
  }
  for (const RowRange& rows : ranges_of(call.activations, RecordKind::kInput)) {
    layers_.to_qkv(call.layer, act.from_row(options_.shape, rows.begin), memory_.scratch(), rows.end - rows.begin, {},
                   adapters_of(rows));
  }
  const std::int64_t kv_elements = batch_.rows() * options_.shape.kv_width();
  device_.fill_zero(d_k_.data(), kv_elements * static_cast<std::int64_t>(sizeof(A)));
  device_.fill_zero(d_v_.data(), kv_elements * static_cast<std::int64_t>(sizeof(A)));
  backward_layer_ = call.layer;
  backward_pieces_.assign(call.activations.begin(), call.activations.end());
  backward_end_ = batch_.rows();
}

// Brings the rest of the part's rows.
template <class T>
void TrainingRun<T>::restore(std::int32_t layer, RowRange part) {
  std::vector<ActivationPiece> pieces;
  for (const ActivationPiece& piece : backward_pieces_) {
    if (!is_empty(intersection(piece.rows, part))) pieces.push_back(trimmed(piece, part));
  }
  const auto from_row = [&](std::int32_t row) { return memory_.activations().from_row(options_.shape, row); };
  for (const ActivationPiece& piece : pieces) {
    if (piece.kind == RecordKind::kInput) continue;
    records_.read_all_but_keys_and_values(piece, from_row(piece.rows.begin));
    layers_.make_queries(layer, from_row(piece.rows.begin), piece.rows.end - piece.rows.begin);
  }
  for (const RowRange& rows : ranges_of(pieces, RecordKind::kLean)) {
    layers_.rebuild_gate_up(layer, from_row(rows.begin), memory_.scratch(), rows.end - rows.begin, adapters_of(rows));
  }
  const std::vector<RowRange> inputs = ranges_of(pieces, RecordKind::kInput);
  if (!inputs.empty()) rerun_from_qkv(layer, inputs);
}

// The layer's forward again, without the products behind the gated activation.
template <class T>
void TrainingRun<T>::rerun_from_qkv(std::int32_t layer, std::span<const RowRange> ranges) {
  const LayerActivations<T>& all = memory_.activations();
  std::vector<AttentionRows> rows;
  for (const RowRange& range : ranges) batch_.append_attention_rows(range, 0, rows);
  run_attention(rows, all, all.keys(options_.shape), all.values(options_.shape), qkv_width());
  for (const RowRange& range : ranges) {
    layers_.to_gate_up(layer, all.from_row(options_.shape, range.begin), memory_.scratch(), range.end - range.begin, {},
                       adapters_of(range));
  }
}

template <class T>
void TrainingRun<T>::backward_attention(RowRange part) {
  const ModelShape& shape = options_.shape;
  const LayerActivations<T>& all = memory_.activations();
  const LayerActivations<T> act = all.from_row(shape, part.begin);
  const LayerScratch<T>& scratch = memory_.scratch();
  std::vector<AttentionRows> rows;
  batch_.append_attention_rows(part, part.begin, rows);
  AttentionBackward<T> call{};
  call.shape = attention_shape(rows);
  call.q = act.qkv;
  call.k = all.keys(shape);
  call.v = all.values(shape);
  call.out = act.attention;
  call.lse = act.lse;
  call.d_out = scratch.d_attention;
  call.delta = delta_.data();
  call.d_q = scratch.d_qkv;
  call.d_k = d_k_.data();
  call.d_v = d_v_.data();
  call.q_stride = call.kv_stride = call.d_q_stride = qkv_width();
  device_.run(call);
  T* d_k = scratch.d_qkv + shape.q_width();
  const std::int64_t first = part.begin * shape.kv_width(), count = part.end - part.begin;
  device_.run(RoundRows<T>{d_k_.data() + first, d_k, count, shape.kv_width(), qkv_width()});
  device_.run(RoundRows<T>{d_v_.data() + first, d_k + shape.kv_width(), count, shape.kv_width(), qkv_width()});
}

template void TrainingRun<float>::backward_layer(const LayerBackward&);
template void TrainingRun<double>::backward_layer(const LayerBackward&);
template void TrainingRun<BFloat16>::backward_layer(const LayerBackward&);

}  // namespace alchemist

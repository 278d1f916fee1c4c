#include "validate/record_io.h"

#include "sim/base/check.h"

namespace alchemist {

template <class T>
typename RecordIo<T>::Place RecordIo<T>::place(RecordTensor tensor, const LayerActivations<T>& act) const {
  const std::int64_t row = layout_.row_bytes(tensor);
  const std::int64_t qkv = (shape_.q_width() + 2 * shape_.kv_width()) * static_cast<std::int64_t>(sizeof(T));
  switch (tensor) {
    case RecordTensor::kGateUp:
      return {act.gate_up, row};
    case RecordTensor::kX:
      return {act.x, row};
    case RecordTensor::kQ:
      return {act.qkv, qkv};
    case RecordTensor::kKeyValue:
      return {act.qkv + shape_.q_width(), qkv};
    case RecordTensor::kAttention:
      return {act.attention, row};
    case RecordTensor::kXMid:
      return {act.x_mid, row};
    case RecordTensor::kLse:
      return {act.lse, row};
    case RecordTensor::kRstd1:
      return {act.rstd1, row};
    case RecordTensor::kRstd2:
      return {act.rstd2, row};
  }
  return {};
}

template <class T>
void RecordIo<T>::move(const ActivationPiece& piece, RecordTensor tensor, Place place, RecordDirection direction) {
  const std::int64_t rows = piece.rows.end - piece.rows.begin;
  check(rows > 0 && piece.first_token >= 0 && piece.first_token + rows <= piece.record_tokens,
        "a piece lies within its record");
  const std::int64_t row_bytes = layout_.row_bytes(tensor);
  RecordCopy copy{};
  copy.record.base = piece.memory.base;
  copy.record.page_bytes = piece.memory.page_bytes;
  copy.record.pages = metadata_.upload_once(piece.memory.pages);
  copy.record.offset = piece.memory.offset + layout_.range(piece.layout, tensor, piece.record_tokens).begin +
                       piece.first_token * row_bytes;
  copy.tensor = static_cast<std::byte*>(place.data);
  copy.rows = rows;
  copy.row_bytes = row_bytes;
  copy.row_stride_bytes = place.stride_bytes;
  copy.direction = direction;
  device_.run(copy);
}

template <class T>
void RecordIo<T>::copy(const ActivationPiece& piece, RecordTensor tensor, const LayerActivations<T>& act,
                       RecordDirection direction) {
  move(piece, tensor, place(tensor, act), direction);
}

template <class T>
void RecordIo<T>::copy(const ActivationPiece& piece, const LayerActivations<T>& act, RecordDirection direction) {
  for (const RecordTensor tensor : layout_.tensors(piece.kind)) copy(piece, tensor, act, direction);
}

template <class T>
void RecordIo<T>::read_keys_and_values(const ActivationPiece& piece, T* rows) {
  move(piece, RecordTensor::kKeyValue, {rows, layout_.row_bytes(RecordTensor::kKeyValue)},
       RecordDirection::kFromRecord);
}

template class RecordIo<float>;
template class RecordIo<double>;
template class RecordIo<BFloat16>;

}  // namespace alchemist

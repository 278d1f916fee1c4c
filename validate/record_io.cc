#include "validate/record_io.h"

#include "sim/base/check.h"

namespace alchemist {
namespace {

// Null: no operator keeps this one.
PagedBytes* place_in(KeptRows& kept, RecordTensor tensor) {
  switch (tensor) {
    case RecordTensor::kX:
      return &kept.x;
    case RecordTensor::kRstd1:
      return &kept.rstd1;
    case RecordTensor::kXMid:
      return &kept.x_mid;
    case RecordTensor::kRstd2:
      return &kept.rstd2;
    case RecordTensor::kGateUp:
      return &kept.gate_up;
    default:
      return nullptr;
  }
}

}  // namespace

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
      return {act.linear, qkv};
    case RecordTensor::kKeyValue:
      return {act.linear + shape_.q_width(), qkv};
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
    case RecordTensor::kHeadRstd:
      return {act.head_rstd, row};
  }
  return {};
}

template <class T>
PagedBytes RecordIo<T>::bytes_of(const ActivationPiece& piece) const {
  const std::int64_t rows = piece.rows.end - piece.rows.begin;
  check(rows > 0 && piece.first_token >= 0 && piece.first_token + rows <= piece.record_tokens,
        "a piece lies within its record");
  PagedBytes bytes;
  bytes.base = piece.memory.base;
  bytes.page_bytes = piece.memory.page_bytes;
  bytes.pages = metadata_.upload_once(piece.memory.pages);
  bytes.offset = piece.memory.offset;
  return bytes;
}

// Of the tensor's first row of the piece, from where the record begins.
template <class T>
std::int64_t RecordIo<T>::offset_of(const ActivationPiece& piece, RecordTensor tensor) const {
  return layout_.range(piece.layout, tensor, piece.record_tokens).begin + piece.first_token * layout_.row_bytes(tensor);
}

template <class T>
RecordCopy RecordIo<T>::copy_of(const ActivationPiece& piece, RecordDirection direction) const {
  RecordCopy copy{};
  copy.record = bytes_of(piece);
  copy.rows = piece.rows.end - piece.rows.begin;
  copy.direction = direction;
  return copy;
}

template <class T>
void RecordIo<T>::add(RecordCopy& copy, const ActivationPiece& piece, RecordTensor tensor, Place place) const {
  copy.tensors[copy.tensor_count++] = {static_cast<std::byte*>(place.data), layout_.row_bytes(tensor),
                                       place.stride_bytes, offset_of(piece, tensor)};
}

template <class T>
void RecordIo<T>::copy(const ActivationPiece& piece, RecordTensor tensor, const LayerActivations<T>& act,
                       RecordDirection direction) {
  RecordCopy copy = copy_of(piece, direction);
  add(copy, piece, tensor, place(tensor, act));
  device_.run(copy);
}

template <class T>
void RecordIo<T>::read_all_but_keys_and_values(const ActivationPiece& piece, const LayerActivations<T>& act) {
  RecordCopy copy = copy_of(piece, RecordDirection::kFromRecord);
  for (const RecordTensor tensor : layout_.tensors(piece.kind)) {
    if (tensor != RecordTensor::kKeyValue) add(copy, piece, tensor, place(tensor, act));
  }
  device_.run(copy);
}

template <class T>
std::vector<KeptRows> RecordIo<T>::kept_by_operators(std::span<const ActivationPiece> pieces) {
  std::vector<KeptRows> all;
  for (const ActivationPiece& piece : pieces) {
    KeptRows& kept = all.emplace_back();
    kept.rows = piece.rows;
    for (const RecordTensor tensor : layout_.tensors(piece.kind)) {
      PagedBytes* place = place_in(kept, tensor);
      if (!place) continue;
      *place = bytes_of(piece);
      place->offset += offset_of(piece, tensor);
    }
  }
  return all;
}

template <class T>
void RecordIo<T>::keep_rest(std::span<const ActivationPiece> pieces, const LayerActivations<T>& act) {
  KeptRows unused;
  for (const ActivationPiece& piece : pieces) {
    const LayerActivations<T> rows = act.from_row(shape_, piece.rows.begin);
    RecordCopy copy = copy_of(piece, RecordDirection::kToRecord);
    for (const RecordTensor tensor : layout_.tensors(piece.kind)) {
      if (!place_in(unused, tensor)) add(copy, piece, tensor, place(tensor, rows));
    }
    device_.run(copy);
  }
}

template <class T>
RowPlace RecordIo<T>::row_place(const ActivationPiece& piece, MetadataBuffer& pages) const {
  check(piece.rows.end == piece.rows.begin + 1, "a piece of one row");
  check(piece.kind == piece.layout && (piece.kind == RecordKind::kMinimal || piece.kind == RecordKind::kLean),
        "all of a record is kept");
  check(piece.first_token >= 0 && piece.first_token < piece.record_tokens, "a row lies within its record");
  RowPlace place;
  place.record = {piece.memory.base, piece.memory.page_bytes, pages.upload_once(piece.memory.pages),
                  piece.memory.offset};
  place.row = piece.rows.begin;
  place.tokens = piece.record_tokens;
  place.token = piece.first_token;
  place.first_tensor =
      static_cast<std::int32_t>(layout_.tensors(RecordKind::kMinimal).size() - layout_.tensors(piece.kind).size());
  return place;
}

template <class T>
void RecordIo<T>::keep_rows(const RowPlace* places, std::int32_t count, const LayerActivations<T>& act) {
  KeepRows call{};
  call.places = places;
  call.count = count;
  for (const RecordTensor tensor : layout_.tensors(RecordKind::kMinimal)) {
    const Place from = place(tensor, act);
    call.tensors[call.tensor_count++] = {static_cast<const std::byte*>(from.data), layout_.row_bytes(tensor),
                                         from.stride_bytes};
  }
  device_.run(call);
}

template <class T>
void RecordIo<T>::read_keys_and_values(const ActivationPiece& piece, T* rows) {
  RecordCopy copy = copy_of(piece, RecordDirection::kFromRecord);
  add(copy, piece, RecordTensor::kKeyValue, {rows, layout_.row_bytes(RecordTensor::kKeyValue)});
  device_.run(copy);
}

template class RecordIo<float>;
template class RecordIo<double>;
template class RecordIo<BFloat16>;

}  // namespace alchemist

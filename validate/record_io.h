// Moves the activations of some rows between a layer's buffers and a record.
#pragma once

#include "validate/layer_run.h"
#include "validate/metadata_buffer.h"

namespace alchemist {

template <class T>
class RecordIo {
 public:
  RecordIo(Device<T>& device, const ModelShape& shape, MetadataBuffer& metadata)
      : device_(device), shape_(shape), layout_(shape), metadata_(metadata) {}

  // One tensor; `act` begins at the piece's first row.
  void copy(const ActivationPiece& piece, RecordTensor tensor, const LayerActivations<T>& act,
            RecordDirection direction);
  // Out of the record all tensors of piece.kind but keys and values, which a backward reads before; `act` as above.
  void read_all_but_keys_and_values(const ActivationPiece& piece, const LayerActivations<T>& act);
  // Of pieces whose rows are rows of the layer's buffers, ascending: what the operators of the layer keep as they go
  // (KeptRows), and the rest of piece.kind, which is what attention reads and makes: in one copy, best made at once
  // behind attention, while caches hold it. `act` begins at row 0.
  std::vector<KeptRows> kept_by_operators(std::span<const ActivationPiece> pieces);
  void keep_rest(std::span<const ActivationPiece> pieces, const LayerActivations<T>& act);
  // Of a piece of one row. Its pages go into `pages`.
  RowPlace row_place(const ActivationPiece& piece, MetadataBuffer& pages) const;
  // The rows of `act`, which begins at row 0, that have a place.
  void keep_rows(const RowPlace* places, std::int32_t count, const LayerActivations<T>& act);
  // The keys, as the record has them (RecordTensor), and values into rows of their own, [rows, 2 kv_width].
  void read_keys_and_values(const ActivationPiece& piece, T* rows);

 private:
  struct Place {
    void* data = nullptr;
    std::int64_t stride_bytes = 0;
  };
  Place place(RecordTensor tensor, const LayerActivations<T>& act) const;
  PagedBytes bytes_of(const ActivationPiece& piece) const;
  // Of the piece's rows, without a tensor yet.
  RecordCopy copy_of(const ActivationPiece& piece, RecordDirection direction) const;
  void add(RecordCopy& copy, const ActivationPiece& piece, RecordTensor tensor, Place place) const;
  std::int64_t offset_of(const ActivationPiece& piece, RecordTensor tensor) const;

  Device<T>& device_;
  const ModelShape& shape_;
  RecordLayout layout_;
  MetadataBuffer& metadata_;
};

}  // namespace alchemist

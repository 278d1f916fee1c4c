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

  // All tensors of piece.kind; `act` begins at the piece's first row.
  void copy(const ActivationPiece& piece, const LayerActivations<T>& act, RecordDirection direction);
  // One tensor; `act` as above.
  void copy(const ActivationPiece& piece, RecordTensor tensor, const LayerActivations<T>& act,
            RecordDirection direction);
  // The keys and values into rows of their own, [rows, 2 kv_width].
  void read_keys_and_values(const ActivationPiece& piece, T* rows);

 private:
  struct Place {
    void* data = nullptr;
    std::int64_t stride_bytes = 0;
  };
  Place place(RecordTensor tensor, const LayerActivations<T>& act) const;
  void move(const ActivationPiece& piece, RecordTensor tensor, Place place, RecordDirection direction);

  Device<T>& device_;
  const ModelShape& shape_;
  RecordLayout layout_;
  MetadataBuffer& metadata_;
};

}  // namespace alchemist

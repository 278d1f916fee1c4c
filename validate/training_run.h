// Training's half of the decoder: a micro-batch, layer by layer, from recorded or fresh activations.
#pragma once

#include <map>
#include <optional>

#include "validate/head_loss.h"
#include "validate/record_io.h"

namespace alchemist {

template <class T>
class TrainingRun {
 public:
  // All references outlive it.
  TrainingRun(Device<T>& device, const DecoderOptions& options, const Weights<T>& weights, LayerRun<T>& layers);

  void begin(std::span<const TrainingSample> samples, bool resumes, std::span<const RowsUnder> under);
  void forward_layer(const LayerForward& call);
  HeadResult head(const HeadCall& call);
  void backward_layer(const LayerBackward& call);

 private:
  using A = Accumulator<T>;
  // Rows of a forward, one range behind the other in the layer's buffers.
  struct CompactRange {
    RowRange rows;
    std::int32_t begin = 0;  // its first row in the buffers
  };
  std::vector<CompactRange> compact(std::span<const RowRange> rows) const;
  // Whose adapters these rows, one range behind the other, have in a call; none if all have those of the model.
  std::vector<AdapterRows<T>> adapters_of(std::span<const RowRange> rows) const;
  std::vector<AdapterRows<T>> adapters_of(RowRange rows) const { return adapters_of(std::span(&rows, 1)); }
  void bring_input(std::int32_t layer, const std::vector<CompactRange>& ranges);
  void share_keys_and_values(const LayerForward& call, const std::vector<CompactRange>& ranges);
  void attend_forward(const std::vector<CompactRange>& ranges);
  static std::vector<ActivationPiece> kept(const LayerForward& call, const std::vector<CompactRange>& ranges);
  void take_output(std::int32_t layer, const std::vector<CompactRange>& ranges);
  void rebuild_final_rows(const HeadCall& call);

  void begin_backward(const LayerBackward& call);
  void restore(std::int32_t layer, RowRange part);
  void rerun_from_qkv(std::int32_t layer, std::span<const RowRange> ranges);
  void backward_attention(RowRange part);
  void run_attention(const std::vector<AttentionRows>& rows, const LayerActivations<T>& act, const T* keys,
                     const T* values, std::int64_t kv_stride);
  AttentionShape attention_shape(const std::vector<AttentionRows>& rows);
  void copy_rows(const T* from, std::int64_t from_stride, T* to, std::int64_t to_stride, std::int64_t width,
                 std::int64_t rows);
  std::int64_t qkv_width() const { return options_.shape.q_width() + 2 * options_.shape.kv_width(); }

  Device<T>& device_;
  const DecoderOptions& options_;
  const Weights<T>& weights_;
  LayerRun<T>& layers_;
  MetadataBuffer metadata_;
  RecordIo<T> records_;
  LayerMemory<T> memory_;
  DeviceArray<T> stream_;     // [rows, hidden]: forward: input of the next layer; backward: gradient of the same
  DeviceArray<T> aside_;      // a gradient of the stream, while a forward that resumes needs its place
  DeviceArray<T> kv_;         // [rows, 2 kv_width]: keys and values of the forward's layer
  DeviceArray<A> d_k_, d_v_;  // [rows, kv_width]
  DeviceArray<A> delta_;      // [rows, heads]
  HeadLoss<T> head_;

  PackedBatch batch_;
  std::vector<RowsUnder> under_;
  std::map<const std::byte*, ModelTensors<const T*>> kept_weights_;  // by the copies that rows are under
  bool holds_gradient_ = false;                                      // the stream does, else the input of a layer
  bool gradient_is_aside_ = false;
  std::optional<std::int32_t> kv_layer_;          // of which kv_ holds some rows
  std::vector<bool> kv_known_;                    // by row
  std::vector<bool> final_known_;                 // by row: the stream holds its output of the last layer
  std::optional<std::int32_t> backward_layer_;    // in progress
  std::vector<ActivationPiece> backward_pieces_;  // of it
  std::int32_t backward_end_ = 0;                 // rows from here on have had their backward in it
};

}  // namespace alchemist

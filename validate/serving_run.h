// Serving's half of the decoder: one step over prefill chunks and decodes, with recording.
#pragma once

#include "validate/decode_steps.h"
#include "validate/record_io.h"

namespace alchemist {

template <class T>
class ServingRun {
 public:
  // All references outlive it.
  ServingRun(Device<T>& device, const DecoderOptions& options, const Weights<T>& weights, LayerRun<T>& layers);

  void use_arena(std::byte* arena) {
    arena_ = arena;
    decode_steps_.forget();  // those of another arena are not run again
  }
  std::int64_t page_bytes() const { return layer_bytes() * options_.shape.layers; }
  void step(std::span<const SequenceStep> batch, std::span<std::int32_t> next);

 private:
  using A = Accumulator<T>;
  // The step's tables in device memory.
  struct Tables {
    std::int64_t tokens = 0;
    const std::int32_t* ids = nullptr;
    const std::int64_t* slots = nullptr;
    const std::int32_t* blocks = nullptr;
    UploadedRows<PagedRows> prefills, decodes;
    std::int64_t yielding = 0;  // sequences that yield a token
    // Of sequences of one token, layer after layer, if any of them is recorded.
    const RowPlace* places = nullptr;
    std::int32_t single_rows = 0;
    bool chunks_recorded = false;  // of sequences of several tokens
    bool recorded() const { return chunks_recorded || places != nullptr; }
  };
  std::int64_t layer_bytes() const;
  void check_sequence(const SequenceStep& sequence) const;
  Tables upload_tables(std::span<const SequenceStep> batch);
  // Starts everything that the step computes.
  void compute(const Tables& tables, std::span<const SequenceStep> batch);
  void run_layer(std::int32_t layer, const Tables& tables, std::span<const SequenceStep> batch,
                 const LayerActivations<T>& act, T* output);
  void attend(std::int32_t layer, const Tables& tables, const UploadedRows<PagedRows>& sequences,
              const LayerActivations<T>& act);
  static std::vector<ActivationPiece> recorded_chunks(std::int32_t layer, std::span<const SequenceStep> batch);
  std::vector<RowPlace> recorded_rows(std::span<const SequenceStep> batch);
  void sample(const Tables& tables, std::span<const SequenceStep> batch, const T* hidden);

  Device<T>& device_;
  const DecoderOptions& options_;
  const Weights<T>& weights_;
  LayerRun<T>& layers_;
  MetadataBuffer metadata_;
  MetadataBuffer record_pages_;  // of single rows: their sizes have no part in where other tables lie
  RecordIo<T> records_;
  LayerMemory<T> memory_;
  DeviceArray<T> other_x_;  // a layer's output, which is the next layer's input
  DeviceArray<T> logits_;
  DeviceArray<std::int32_t> next_;
  DecodeSteps decode_steps_;
  std::byte* arena_ = nullptr;
};

}  // namespace alchemist

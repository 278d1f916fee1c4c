// Output head and loss over the rows that have a target, forward and backward. Logits exist for a few rows at a time.
#pragma once

#include "validate/layer_run.h"
#include "validate/metadata_buffer.h"
#include "validate/packed_batch.h"

namespace alchemist {

template <class T>
class HeadLoss {
 public:
  HeadLoss(Device<T>& device, const DecoderOptions& options, const Weights<T>& weights, MetadataBuffer& metadata);

  // `stream` [rows of the micro-batch, hidden] holds the final hidden states of the targets in `part`; afterwards all
  // of `part` holds the gradient, zero where there is no target.
  HeadResult run(const PackedBatch& batch, RowRange part, T* stream);

 private:
  using A = Accumulator<T>;
  // Rows with a target, in order, and what each contributes.
  struct Targets {
    std::vector<RowRange> runs;           // one for each sample that has any in the part
    std::vector<std::size_t> samples;     // of each run
    std::vector<std::int32_t> run_begin;  // index of each run's first target; one more than runs
    const std::int32_t* ids = nullptr;    // device
    std::int64_t count = 0;
  };
  Targets find_targets(const PackedBatch& batch, RowRange part);
  void upload_weights(const PackedBatch& batch, const Targets& targets);
  double prefer(const PackedBatch& batch, const Targets& targets);
  // Losses of all targets; with `gradient` also the gradient, back into the stream.
  void pass(const Targets& targets, T* stream, bool gradient);
  void run_chunk(const Targets& targets, std::int64_t first, std::int64_t count, T* stream, bool gradient);
  void copy_rows(const Targets& targets, std::int64_t first, std::int64_t count, T* stream, T* chunk, bool back);
  void zero_others(const Targets& targets, RowRange part, T* stream);

  Device<T>& device_;
  const DecoderOptions& options_;
  const Weights<T>& weights_;
  MetadataBuffer& metadata_;
  DeviceArray<T> hidden_, normed_, gradient_, logits_;  // of kChunkRows rows
  DeviceArray<A> rstd_;
  DeviceArray<A> loss_, weight_;  // of each target
};

}  // namespace alchemist

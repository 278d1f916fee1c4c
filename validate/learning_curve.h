// Does a model learn as well from aged records? It is trained from the same start on the same batches in the same
// order, once for each age of the records, and its loss on other samples is measured on the way.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <span>
#include <vector>

#include "validate/aged_training.h"

namespace alchemist {

struct LearningOptions {
  std::int32_t steps = 200;   // of the optimizer, one batch each
  std::int32_t every = 20;    // steps between two measurements
  std::int32_t held_out = 8;  // batches of which the loss is measured; none of them is trained
  RecordedRows recorded = RecordedRows::prompts;
  // Of what is recorded, under the weights that it was recorded under: see backward_can_be_recorded().
  bool recorded_backward = false;
  SampleBatchShape batch;
};

// What curves may start from: all weights of `model`, which must have been made for full fine-tuning, are trained by
// fresh forwards for so many steps, on samples whose tokens have other successors than those of the curves. By their
// names, for Decoder::set_named_weight().
std::vector<Decoder::NamedTensor> pretrained_weights(Decoder& model, const LearningOptions& options,
                                                     std::int32_t steps);

struct LearningPoint {
  std::int32_t step = 0;  // optimizer steps before
  double loss = 0;        // mean over the held-out targets, by a fresh forward
};

// Every sample is recorded `lag` optimizer steps before its own (the first ones at the start) and trained from that
// record; with lag 0 that is training by a fresh forward. `lags` are those of the samples in the order in which they
// are trained, over and over; not empty. The model must be as it was made, and is trained afterwards. Points at the
// start, after every `every` steps and at the end. The curve ends early where the loss is not finite: training has
// diverged; ConfigError if it is not finite at the start. Memory: batches of records for the largest lag and one more,
// or `steps` if that is less, and as many copies of the trained weights with `recorded_backward`, for which samples of
// one batch have the same lag unless adapters are trained (checked).
std::vector<LearningPoint> learning_curve(Decoder& model, const LearningOptions& options,
                                          std::span<const std::int32_t> lags);

// How many steps of `reference` come to the loss that `curve` ends with, between two points in proportion; none where
// even its least loss is above it. `curve` and `reference` begin with the same loss.
std::optional<double> steps_to_final_loss(const std::vector<LearningPoint>& reference,
                                          const std::vector<LearningPoint>& curve);

}  // namespace alchemist

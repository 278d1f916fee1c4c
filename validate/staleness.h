// What the age of records does to a gradient. A record made under older weights is an approximation of what a forward
// under today's weights gives; here the two gradients are computed and compared.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <vector>

#include "validate/aged_training.h"

namespace alchemist {

struct StalenessOptions {
  std::int32_t max_lag = 8;        // weight versions between recording and use
  std::int32_t warm_up_steps = 8;  // before the first record: an adapter at its start has no effect on activations
  std::int32_t repeats = 3;        // records made, one after the other
  RecordedRows recorded = RecordedRows::prompts;
  SampleBatchShape batch;
};

// Gradient g from a record and what it lacks run now, against the gradient f of a fresh forward of everything, under
// the same weights and of the same samples.
struct StalenessPoint {
  std::int32_t lag = 0;
  std::int32_t repeat = 0;
  double cosine = 0;          // g f / (|g| |f|)
  double relative_error = 0;  // |g - f| / |f|
  double loss = 0;            // fresh, of the recorded samples
};

// Records a batch, then takes optimizer steps on other batches of the same distribution, and compares the gradients
// before each step. Points by repeat, then lag. The model must have been made for training and hold such a batch in a
// micro-batch (checked). ConfigError where weights or learning rate are such that a gradient is zero or not finite.
std::vector<StalenessPoint> measure_staleness(Decoder& model, const StalenessOptions& options);

// CSV: one line a point, behind a header.
void write_staleness(std::ostream& out, const std::vector<StalenessPoint>& points);

}  // namespace alchemist

// Times of training's pieces measured on one device for one model, or for one GPU's part of it, as `alchemist
// calibrate` writes them.
//
// training.csv: kind,tokens,attended_keys,time_us. A time depends on the tokens as measured (linear between the points)
// and on the keys that they attend to by a constant each:
//   time(tokens, keys) = dense(tokens) + per_key * keys
// dense does not fall with the tokens (rising.h), so that nothing costs less than nothing beyond what was measured.
// per_key is the slope between the fewest and the most keys at equal tokens, over all tokens for which both were
// measured (sum of the time differences / sum of the key differences; not below 0).
//   forward, backward   of one layer
//   rebuild             of gate and up of one layer
//   head                output head and loss, forward and backward, by tokens with a target
//   recording           of the minimal set of all layers: what it adds to a prefill
//   optimizer           one row
#pragma once

#include <string>

#include "sim/model/kernel_profile.h"

namespace alchemist {

struct PieceSeries {
  PointSeries dense;   // microseconds by tokens
  double per_key = 0;  // microseconds
  double at(double tokens, double keys) const { return dense.at(tokens) + per_key * keys; }
};

struct TrainingProfile {
  PieceSeries forward;
  PieceSeries backward;
  PointSeries rebuild;
  PointSeries head;
  PointSeries recording;
  double optimizer = 0;
};

// ConfigError (FILE:LINE) for a missing file, column or kind, an unknown kind, and a time that is not positive.
TrainingProfile read_training_profile(const std::string& file);

}  // namespace alchemist

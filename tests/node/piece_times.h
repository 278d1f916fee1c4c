// A trainer as large as testing::Store has its memory, and times that can be told by hand.
#pragma once

#include "sim/node/trainer.h"

namespace alchemist::testing {

// A token takes a microsecond, whatever it attends to; so does a thousand of the optimizer's parameters. A byte takes a
// nanosecond over the link, or as many as given.
class TimeOfTokens final : public Estimator {
 public:
  explicit TimeOfTokens(std::int64_t ns_per_byte = 1) : ns_per_byte_(ns_per_byte) {}
  Duration piece(const TrainingPiece& piece) const override {
    return Duration::microseconds(piece.tokens + piece.parameters / 1'000);
  }
  Duration copy(LinkDirection, Bytes bytes) const override {
    return Duration::nanoseconds(ns_per_byte_ * bytes.count());
  }

 private:
  std::int64_t ns_per_byte_;
};

inline TrainerConfig two_layers(std::int64_t batch_tokens) {
  TrainerConfig config;
  config.training.batch_tokens = batch_tokens;
  config.layers = 2;
  config.trained_parameters = 1'000;
  config.page_bytes = Bytes(100);
  config.bytes = {Bytes(4), Bytes(10), Bytes(2), Bytes(2)};
  return config;
}

}  // namespace alchemist::testing

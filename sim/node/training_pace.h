// How slowly the GPU time of training passes when serving takes most of it: seconds of the clock for each second of
// training's own work. A restore plan that took its GPU time for the clock's would find the link far too slow.
#pragma once

#include <algorithm>
#include <optional>

#include "sim/base/time.h"

namespace alchemist {

class TrainingPace {
 public:
  void on_begin(Time now) {
    began_ = now;
    waited_ = ran_ = Duration();
    waiting_since_.reset();
  }
  // Work could not be done, or could be done again, because of copies: no fault of serving's.
  void on_ready(Time now, bool ready) {
    if (!ready && !waiting_since_) waiting_since_ = now;
    if (!ready || !waiting_since_) return;
    waited_ += now - *waiting_since_;
    waiting_since_.reset();
  }
  void on_ran(Duration ran) { ran_ += ran; }
  void on_end(Time now) {
    constexpr double kWeight = 0.25;  // of the latest micro-batch
    if (ran_ <= Duration()) return;
    const double latest = std::max(1.0, (now - began_ - waited_) / ran_);
    factor_ = factor_ ? *factor_ + kWeight * (latest - *factor_) : latest;
  }

  // >= 1; 1 before the first micro-batch has ended.
  double factor() const { return factor_.value_or(1); }

 private:
  Time began_;
  Duration waited_, ran_;
  std::optional<Time> waiting_since_;
  std::optional<double> factor_;
};

}  // namespace alchemist

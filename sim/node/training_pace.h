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
  void on_ran(Time now, Duration ran) {
    constexpr double kFade = 0.99;  // of what was, with each piece: two or three times the layers of a model
    constexpr double kAtOnce = 0.1;
    const bool follows = now - ran - ended_ <= kAtOnce * ran;
    pieces_ = kFade * pieces_ + ran.in_seconds();
    following_ = kFade * following_ + (follows ? ran.in_seconds() : 0);
    ended_ = now;
    ran_ += ran;
  }
  void on_end(Time now) {
    constexpr double kWeight = 0.25;  // of the latest micro-batch
    if (ran_ <= Duration()) return;
    const double latest = so_far(now);
    factor_ = factor_ ? *factor_ + kWeight * (latest - *factor_) : latest;
  }
  // Of the micro-batch under way. Precondition: a piece of it has run.
  double so_far(Time now) const { return std::max(1.0, (now - began_ - waited_) / ran_); }
  // That one is slower than those before it.
  void learn(double so_far) { factor_ = std::max(so_far, factor()); }

  // Share of training's own work of late in pieces that followed others at once, with no step of serving between them.
  double following() const { return pieces_ > 0 ? following_ / pieces_ : 1; }

  // >= 1; 1 before anything is known.
  double factor() const { return factor_.value_or(1); }

 private:
  Time began_;
  Duration waited_, ran_;
  Time ended_;                         // the latest piece
  double pieces_ = 0, following_ = 0;  // seconds, fading
  std::optional<Time> waiting_since_;
  std::optional<double> factor_;
};

}  // namespace alchemist

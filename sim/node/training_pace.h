// How slowly the GPU time of training passes when serving takes most of it: seconds of the clock for each second of
// training's own work. A restore plan that took its GPU time for the clock's would find the link far too slow.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "sim/base/time.h"

namespace alchemist {

class TrainingPace {
 public:
  void on_begin(Time now) {
    began_ = free_since_ = now;
    waited_ = ran_ = Duration();
    waiting_since_.reset();
    held_up_ = false;
  }
  // Work could not be done, or could be done again, because of copies: no fault of serving's.
  void on_ready(Time now, bool ready) {
    if (!ready && !waiting_since_) waiting_since_ = now;
    held_up_ = held_up_ || !ready;
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
    // A piece that had to wait for a copy may have missed its turn: what passed since the piece before tells nothing of
    // serving.
    if (!std::exchange(held_up_, false)) {
      free_ += now - free_since_;
      free_ran_ += ran;
    }
    free_since_ = now;
  }
  void on_end() {
    // What pieces that waited leave of a micro-batch may be too little to tell anything.
    if (free_ran_ <= Duration() || 2 * free_ran_ < ran_) return;
    recent_[next_] = std::max(1.0, free_ / free_ran_);
    next_ = (next_ + 1) % kRecent;
    known_ = std::min(known_ + 1, kRecent);
    free_ = free_ran_ = Duration();
  }
  // Of the micro-batch under way. Precondition: a piece of it has run.
  double so_far(Time now) const { return std::max(1.0, (now - began_ - waited_) / ran_); }
  // That one is slower than those before it.
  void learn(double so_far) {
    for (double& pace : recent_) pace = std::max(so_far, pace);
    known_ = kRecent;
  }

  // Share of training's own work of late in pieces that followed others at once, with no step of serving between them.
  double following() const { return pieces_ > 0 ? following_ / pieces_ : 1; }

  // >= 1; 1 before anything is known.
  double factor() const {
    if (known_ == 0) return 1;
    return std::accumulate(recent_.begin(), recent_.begin() + known_, 0.0) / static_cast<double>(known_);
  }
  // Prompts come by chance, so that one micro-batch may take three times as long as the next. What the next one may
  // take, one as likely as the other, ascending.
  std::vector<double> outlook() const {
    if (known_ < kRecent) return {factor()};
    std::array<double, kRecent> sorted = recent_;
    std::ranges::sort(sorted);
    std::vector<double> paces;
    for (std::size_t i = 0; i < kRecent; i += 2) paces.push_back((sorted[i] + sorted[i + 1]) / 2);
    return paces;
  }

 private:
  Time began_;
  Duration waited_, ran_;
  Time free_since_;                    // the piece before ended, or the micro-batch began
  Duration free_, free_ran_;           // time that pieces took which waited for serving alone, and what they ran of it
  bool held_up_ = false;               // the next piece is not one of those
  Time ended_;                         // the latest piece
  double pieces_ = 0, following_ = 0;  // seconds, fading
  std::optional<Time> waiting_since_;
  // Paces of the latest micro-batches, by number of known ones.
  static constexpr std::size_t kRecent = 8;
  std::array<double, kRecent> recent_{};
  std::size_t next_ = 0, known_ = 0;
};

}  // namespace alchemist

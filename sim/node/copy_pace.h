// How slowly a link brings what training asks of it: seconds of the clock for each second that its copies would take
// alone. Copies of records share the link, the two directions slow each other, and kernels slow both; what a policy
// believes of a copy is that of one alone.
#pragma once

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/time.h"

namespace alchemist {

// Of one direction.
class CopyPace {
 public:
  // A copy is asked for that would take `alone` by itself. Several may be under way at once.
  void on_submit(Time now, Duration alone) {
    if (under_way_++ == 0) since_ = now;
    asked_ += alone;
  }
  void on_done(Time now) {
    constexpr double kFade = 0.98;  // of what was, each time that nothing is under way any more
    check(under_way_ > 0, "a copy ends that was asked for");
    if (--under_way_ > 0) return;
    took_ = kFade * took_ + (now - since_).in_seconds();
    alone_ = kFade * alone_ + asked_.in_seconds();
    asked_ = Duration();
  }
  // >= 1; 1 before anything is known.
  double factor() const { return alone_ > 0 ? std::max(1.0, took_ / alone_) : 1; }

 private:
  int under_way_ = 0;
  Time since_;                   // something is under way
  Duration asked_;               // since then
  double took_ = 0, alone_ = 0;  // seconds, fading
};

}  // namespace alchemist

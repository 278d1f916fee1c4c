// How long something has been going on, be it in many pieces that overlap.
#pragma once

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/time.h"

namespace alchemist {

class BusyTime {
 public:
  void begin(Time now) {
    if (going_++ == 0) since_ = now;
  }
  void end(Time now) {
    check(going_ > 0, "what ends has begun");
    if (--going_ == 0) total_ += std::max(Duration(), now - since_);
  }
  // Up to `now`, which lies not before the last end.
  Duration until(Time now) const { return going_ > 0 ? total_ + std::max(Duration(), now - since_) : total_; }

 private:
  int going_ = 0;
  Time since_;
  Duration total_;
};

}  // namespace alchemist

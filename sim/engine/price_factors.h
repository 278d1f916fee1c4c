// By how much operations take longer than their price, where that is known from elsewhere: from a real run of the same.
#pragma once

#include <algorithm>
#include <iterator>
#include <vector>

#include "sim/base/check.h"
#include "sim/base/time.h"
#include "sim/engine/operation_kind.h"

namespace alchemist {

class PriceFactors {
 public:
  PriceFactors() = default;  // as priced
  explicit PriceFactors(const ByOperation<double>& by_kind) : by_kind_(by_kind) {}

  // From then on the machine is so much slower, whatever it runs, until the next change. In the order of time.
  void change(Time from, double slowness) {
    check(changes_.empty() || changes_.back().from <= from, "changes come in the order of time");
    changes_.push_back({from, slowness});
  }

  // What an operation takes that begins at `start` and is priced `priced`. Before the first change as by then.
  Duration charged(OperationKind kind, Time start, Duration priced) const {
    double factor = by_kind_[static_cast<std::size_t>(kind)];
    if (!changes_.empty()) factor *= slowness_at(start);
    return factor == 1 ? priced : scaled(priced, factor);
  }

 private:
  struct Change {
    Time from;
    double slowness;
  };

  double slowness_at(Time when) const {
    const auto next = std::upper_bound(changes_.begin(), changes_.end(), when,
                                       [](Time time, const Change& change) { return time < change.from; });
    return (next == changes_.begin() ? next : std::prev(next))->slowness;
  }

  ByOperation<double> by_kind_ = {1, 1, 1, 1, 1, 1};
  std::vector<Change> changes_;
};

}  // namespace alchemist

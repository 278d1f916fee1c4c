// The largest value since a given position of a growing sequence, for the longest gap that a request has seen: every
// request of a replica that decodes sees the same gaps, so one sequence a replica serves all of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "sim/base/check.h"

namespace alchemist {

// Holds only values that no later value reaches (a monotonic stack): push is O(1) amortised, a query O(log size).
template <class Value>
class RecentMaximum {
 public:
  // Positions must not decrease.
  void push(std::int64_t position, Value value) {
    check(kept_.empty() || position >= kept_.back().position, "positions of a RecentMaximum never go back");
    while (!kept_.empty() && kept_.back().value <= value) kept_.pop_back();
    kept_.push_back({position, value});
  }

  // The largest value pushed at `position` or later, if there was any.
  std::optional<Value> since(std::int64_t position) const {
    const auto it = first_at(position);
    if (it == kept_.end()) return std::nullopt;
    return it->value;
  }

  // Nobody will ask about positions before this one any more.
  void forget_before(std::int64_t position) { kept_.erase(kept_.begin(), first_at(position)); }

 private:
  struct Entry {
    std::int64_t position;
    Value value;
  };
  auto first_at(std::int64_t position) const {
    return std::lower_bound(kept_.begin(), kept_.end(), position,
                            [](const Entry& e, std::int64_t p) { return e.position < p; });
  }

  std::vector<Entry> kept_;  // positions rise, values fall
};

}  // namespace alchemist

// Times of cases on a machine that does other things too: the cases take turns, round after round, so that a
// disturbance hits all of them alike.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "validate/sample_log.h"

namespace alchemist {

struct TimedCase {
  std::function<void()> work;
  int runs_before = 0;  // so many times it is run in a row before it is measured
};

// Logs `rounds` samples of each, as cases of the log; returns these. One round more is run first and not counted. It
// tells how long the cases take, and they run in this order, up and down by turns: so each follows one much like it, as
// steps do, and a short one does not pay for the caches that a long one has emptied. `after_round` is called behind
// each of them, the first included.
inline std::vector<std::size_t> measure_in_turns(
    const std::vector<TimedCase>& cases, int rounds, SampleLog& log, const std::function<void()>& after_round = [] {}) {
  std::vector<std::pair<double, std::size_t>> order;
  std::vector<std::size_t> logged;
  for (const TimedCase& each : cases) {
    order.emplace_back(microseconds_of(each.work), order.size());
    logged.push_back(log.add_case());
  }
  after_round();
  std::sort(order.begin(), order.end());
  for (int round = 0; round < rounds; ++round) {
    for (const auto& [first_time, i] : order) {
      for (int run = 0; run < cases[i].runs_before; ++run) cases[i].work();
      log.time(logged[i], cases[i].work);
    }
    std::reverse(order.begin(), order.end());
    after_round();
  }
  return logged;
}

}  // namespace alchemist

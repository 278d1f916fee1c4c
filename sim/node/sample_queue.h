// Samples whose feedback has come and which have not been trained.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "sim/base/events.h"
#include "sim/policy/decisions.h"

namespace alchemist {

class SampleQueue {
 public:
  void add(const Feedback& sample);
  std::int64_t samples() const { return static_cast<std::int64_t>(ready_.size()); }
  std::int64_t tokens() const { return tokens_; }

  // Takes samples in this order until they have `batch_tokens` or more; fewer if there are no more. `saved_share`: of a
  // sample's forward, what usable records save; asked for SampleOrder::kRecorded alone.
  std::vector<Feedback> take(std::int64_t batch_tokens, SampleOrder order,
                             const std::function<double(const Feedback&)>& saved_share);
  // Gives samples back that were taken in this order.
  void put_back(std::span<const Feedback> samples, SampleOrder order);

 private:
  std::deque<Feedback> ready_;  // the oldest first
  std::int64_t tokens_ = 0;
};

}  // namespace alchemist

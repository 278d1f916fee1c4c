// A running estimate of a high quantile of a stream that drifts: a histogram on a logarithmic scale whose counts are
// halved now and then, so that the past fades. O(1) a value, deterministic.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "sim/base/time.h"

namespace alchemist {

class TailEstimate {
 public:
  // `quantile` in (0, 1).
  explicit TailEstimate(double quantile) : quantile_(quantile) {}

  void add(Duration value, std::int64_t count) {
    counts_[bin_of(value)] += count;
    total_ += count;
    if (total_ > kMemory) {
      total_ = 0;
      for (std::int64_t& c : counts_) total_ += c /= 2;
    }
  }

  // Lower edge of the bin that holds the quantile (6 % wide); zero before there are kWarmUp values.
  Duration value() const {
    if (total_ < kWarmUp) return Duration();
    auto beyond = static_cast<std::int64_t>(static_cast<double>(total_) * (1 - quantile_));
    for (std::size_t bin = counts_.size(); bin-- > 0;) {
      if (beyond < counts_[bin]) return edge_of(bin);
      beyond -= counts_[bin];
    }
    return Duration();
  }

 private:
  static constexpr std::int64_t kMemory = 20'000;
  static constexpr std::int64_t kWarmUp = 200;
  static constexpr double kBinsPerDoubling = 12;
  static constexpr double kSmallest_ns = 1'000;

  static std::size_t bin_of(Duration value) {
    const double ratio = std::max(1.0, static_cast<double>(value.count_ns()) / kSmallest_ns);
    return std::min<std::size_t>(399, static_cast<std::size_t>(std::log2(ratio) * kBinsPerDoubling));
  }
  static Duration edge_of(std::size_t bin) {
    return Duration::nanoseconds(
        static_cast<std::int64_t>(kSmallest_ns * std::exp2(static_cast<double>(bin) / kBinsPerDoubling)));
  }

  double quantile_;
  std::array<std::int64_t, 400> counts_{};
  std::int64_t total_ = 0;
};

}  // namespace alchemist

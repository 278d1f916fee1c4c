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
    const std::size_t bin = bin_of(value);
    counts_[bin] += count;
    total_ += count;
    if (bin > bin_) above_ += count;
    if (total_ > kMemory) fade();
    find_bin();
  }

  // Lower edge of the bin that holds the quantile (6 % wide); zero before there are kWarmUp values.
  Duration value() const { return total_ < kWarmUp ? Duration() : edge_; }

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

  void fade() {
    total_ = above_ = 0;
    for (std::size_t bin = 0; bin < counts_.size(); ++bin) {
      total_ += counts_[bin] /= 2;
      if (bin > bin_) above_ += counts_[bin];
    }
  }

  // The quantile moves by few bins at a time, so it is followed rather than looked for.
  void find_bin() {
    const auto beyond = static_cast<std::int64_t>(static_cast<double>(total_) * (1 - quantile_));
    const std::size_t before = bin_;
    while (above_ > beyond) above_ -= counts_[++bin_];
    while (bin_ > 0 && above_ + counts_[bin_] <= beyond) above_ += counts_[bin_--];
    if (bin_ != before) edge_ = edge_of(bin_);
  }

  double quantile_;
  std::size_t bin_ = 0;  // that holds the quantile
  Duration edge_ = edge_of(0);
  std::int64_t above_ = 0;  // values in higher bins
  std::array<std::int64_t, 400> counts_{};
  std::int64_t total_ = 0;
};

}  // namespace alchemist

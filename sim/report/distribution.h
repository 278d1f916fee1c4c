// Quantiles of a stream in constant memory: exact for small samples, a logarithmic histogram for large ones.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sim/base/check.h"

namespace alchemist {

// The one rule for percentiles: linear interpolation between the two order statistics nearest to rank q * (n - 1)
// (Hyndman and Fan 1996, type 7; the default of numpy.percentile and so of vLLM's benchmarks).
struct QuantileRank {
  std::int64_t lower = 0;  // rank from 0 of the order statistic below
  double weight = 0;       // of the order statistic above, 0 <= weight < 1
};

// Of `count` >= 1 samples, 0 <= q <= 1.
QuantileRank quantile_rank(std::int64_t count, double q);

// The same of samples in ascending order; at least one.
double sorted_quantile(std::span<const double> sorted, double q);

// Non-negative integers below 2^63 (nanoseconds, picoseconds). Exact as long as there are at most kExactSamples; beyond
// that the mean stays exact, and every quantile is within kRelativeError of the exact one. The
// answers depend on the samples alone, neither on their order nor on how equal ones were grouped into one add().
class Distribution {
 public:
  static constexpr std::int64_t kExactSamples = 65'536;
  static constexpr double kRelativeError = 1.0 / 2048;  // half a bucket of the histogram

  // `count` samples of `value` >= 0. O(1), a few nanoseconds.
  void add(std::int64_t value, std::int64_t count = 1) {
    check(value >= 0 && count >= 1, "a distribution takes non-negative samples");
    count_ += count;
    sum_ += static_cast<Sum>(value) * count;
    if (value < min_) min_ = value;
    if (value > max_) max_ = value;
    if (!buckets_.empty()) [[likely]] {
      buckets_[bucket_of(value)] += count;
    } else {
      add_exactly(value, count);
    }
  }

  std::int64_t count() const { return count_; }
  std::optional<double> mean() const;                                         // none of an empty distribution
  std::optional<double> quantile(double q) const;                             // none of an empty distribution
  std::vector<double> quantiles(std::span<const double> ascending_qs) const;  // empty of an empty distribution

 private:
  // 1024 buckets an octave; below 2048 a bucket holds one value.
  static constexpr int kBits = 10;
  static constexpr std::size_t kBuckets = (63 - kBits) * (std::size_t{1} << kBits) + (std::size_t{1} << kBits);
  __extension__ using Sum = __int128;
  struct Sample {
    std::int64_t value;
    std::int64_t count;
  };

  static std::size_t bucket_of(std::int64_t value) {
    const auto v = static_cast<std::uint64_t>(value);
    const int shift = std::bit_width(v >> (kBits + 1));
    return (static_cast<std::size_t>(shift) << kBits) + (v >> shift);
  }
  static double middle_of(std::size_t bucket);
  void add_exactly(std::int64_t value, std::int64_t count);

  std::int64_t count_ = 0;
  Sum sum_ = 0;  // an integer, so that it does not depend on the order of the samples
  std::int64_t min_ = INT64_MAX;
  std::int64_t max_ = 0;
  std::vector<Sample> samples_;        // until there are too many
  std::vector<std::int64_t> buckets_;  // from then on
};

}  // namespace alchemist

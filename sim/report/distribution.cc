#include "sim/report/distribution.h"

#include <algorithm>
#include <cmath>

namespace alchemist {

QuantileRank quantile_rank(std::int64_t count, double q) {
  check(count >= 1 && q >= 0 && q <= 1, "a quantile needs samples and a share between 0 and 1");
  const double rank = q * static_cast<double>(count - 1);
  const double lower = std::floor(rank);
  return {static_cast<std::int64_t>(lower), rank - lower};
}

double sorted_quantile(std::span<const double> sorted, double q) {
  const QuantileRank rank = quantile_rank(static_cast<std::int64_t>(sorted.size()), q);
  const auto lower = static_cast<std::size_t>(rank.lower);
  if (rank.weight == 0) return sorted[lower];
  return sorted[lower] + rank.weight * (sorted[lower + 1] - sorted[lower]);
}

double Distribution::middle_of(std::size_t bucket) {
  constexpr std::size_t kPerOctave = std::size_t{1} << kBits;
  if (bucket < 2 * kPerOctave) return static_cast<double>(bucket);
  const auto shift = static_cast<int>(bucket / kPerOctave) - 1;
  const std::uint64_t low = static_cast<std::uint64_t>(bucket % kPerOctave + kPerOctave) << shift;
  const std::uint64_t width = std::uint64_t{1} << shift;
  return static_cast<double>(low) + static_cast<double>(width - 1) / 2;
}

void Distribution::add_exactly(std::int64_t value, std::int64_t count) {
  if (count_ <= kExactSamples) {
    samples_.push_back({value, count});
    return;
  }
  buckets_.assign(kBuckets, 0);
  for (const Sample& s : samples_) buckets_[bucket_of(s.value)] += s.count;
  buckets_[bucket_of(value)] += count;
  samples_ = {};
}

std::optional<double> Distribution::mean() const {
  if (count_ == 0) return std::nullopt;
  return static_cast<double>(sum_) / static_cast<double>(count_);
}

std::optional<double> Distribution::quantile(double q) const {
  if (count_ == 0) return std::nullopt;
  return quantiles({&q, 1}).front();
}

std::vector<double> Distribution::quantiles(std::span<const double> ascending_qs) const {
  std::vector<double> answers;
  if (count_ == 0) return answers;
  // The distribution as ascending (value, count), whichever way it is held.
  std::vector<std::pair<double, std::int64_t>> steps;
  if (buckets_.empty()) {
    std::vector<Sample> sorted = samples_;
    std::sort(sorted.begin(), sorted.end(), [](const Sample& a, const Sample& b) { return a.value < b.value; });
    for (const Sample& s : sorted) steps.emplace_back(static_cast<double>(s.value), s.count);
  } else {
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      if (buckets_[b] == 0) continue;
      steps.emplace_back(std::clamp(middle_of(b), static_cast<double>(min_), static_cast<double>(max_)), buckets_[b]);
    }
  }
  // Both the rank and its successor move upwards with q, so one pass answers all.
  std::size_t i = 0;
  std::int64_t before = 0;  // samples in steps 0..i-1
  for (double q : ascending_qs) {
    const QuantileRank rank = quantile_rank(count_, q);
    check(rank.lower >= before, "quantiles are asked for in ascending order");
    while (before + steps[i].second <= rank.lower) before += steps[i++].second;
    const double low = steps[i].first;
    const bool next_is_equal = rank.weight == 0 || rank.lower + 1 < before + steps[i].second;
    answers.push_back(next_is_equal ? low : low + rank.weight * (steps[i + 1].first - low));
  }
  return answers;
}

}  // namespace alchemist

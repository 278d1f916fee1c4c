#include "sim/policy/feedback_model.h"

#include <algorithm>
#include <cmath>

namespace alchemist {

std::size_t FeedbackModel::bin_of(double age_s) {
  if (age_s <= kFirst_s) return 0;
  return std::min(kBins - 1, static_cast<std::size_t>(std::ceil(2 * std::log2(age_s / kFirst_s))));
}

double FeedbackModel::upper_edge(std::size_t bin) {
  static const std::array<double, kBins> edges = [] {
    std::array<double, kBins> all;
    for (std::size_t i = 0; i < kBins; ++i) all[i] = kFirst_s * std::exp2(static_cast<double>(i) / 2);
    return all;
  }();
  return edges[bin];
}

void FeedbackModel::expose(std::array<double, kBins>& exposure, double age_s) {
  const std::size_t last = bin_of(age_s);
  double lower = 0;
  for (std::size_t bin = 0; bin <= last; ++bin) {
    const double upper = bin == last ? age_s : upper_edge(bin);
    exposure[bin] += upper - lower;
    lower = upper;
  }
}

void FeedbackModel::learn(Duration age, bool came) {
  constexpr double kMemory = 4'000;  // records; then the past fades
  const double age_s = std::max(0.0, age.in_seconds());
  expose(exposure_, age_s);
  if (came) came_[bin_of(age_s)] += 1;
  ++seen_;
  weight_ += 1;
  if (weight_ < kMemory) return;
  weight_ /= 2;
  for (double& events : came_) events /= 2;
  for (double& seconds : exposure_) seconds /= 2;
}

void FeedbackModel::observe_open(std::span<const Duration> ages) {
  open_.fill(0);
  for (const Duration age : ages) expose(open_, age.in_seconds());
}

double FeedbackModel::rate(std::size_t bin) const {
  while (bin > 0 && exposure(bin) <= 0) --bin;
  return exposure(bin) > 0 ? came_[bin] / exposure(bin) : 0;
}

double FeedbackModel::wanted_within(double age_s) const {
  double expected = 0, lower = 0;
  const std::size_t last = bin_of(age_s);
  for (std::size_t bin = 0; bin <= last; ++bin) {
    const double upper = bin == last ? age_s : upper_edge(bin);
    expected += rate(bin) * (upper - lower);
    lower = upper;
  }
  return 1 - std::exp(-expected);
}

std::array<FeedbackModel::Prospect, FeedbackModel::kBins> FeedbackModel::prospects() const {
  std::array<Prospect, kBins> all;
  double lower = 0, open = 1, wait = 0;
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    const double width = upper_edge(bin) - lower, expected = rate(bin) * width;
    const double comes = -std::expm1(-expected);  // of those that are open at the lower edge
    wait += open * (expected > 0 ? comes / rate(bin) : width);
    open *= 1 - comes;
    lower = upper_edge(bin);
    all[bin] = {lower, 1 - open, wait};
  }
  return all;
}

}  // namespace alchemist

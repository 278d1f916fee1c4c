#include "validate/machine_speed.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "validate/measurement.h"

namespace alchemist {

double speed_probe_us() {
  constexpr int kRounds = 1'500;
  std::array<float, 128> values;
  values.fill(1);
  const double us = microseconds_of([&] {
    for (int round = 0; round < kRounds; ++round) {
      for (float& value : values) value = value * 0.999999F + 1e-6F;
    }
  });
  volatile float used = values[0];  // or it would not be computed
  static_cast<void>(used);
  return us;
}

std::vector<double> smoothed_probes(std::vector<double> probe_us) {
  constexpr std::size_t kNeighbours = 10;  // on each side: a small part of the time for which a neighbour works
  constexpr double kMost = 2;
  if (probe_us.empty()) return {};
  const double most = kMost * timing_of(probe_us).median;
  std::vector<double> sums = {0};  // of the probes before each
  for (const double us : probe_us) sums.push_back(sums.back() + std::min(us, most));
  for (std::size_t i = 0; i < probe_us.size(); ++i) {
    const std::size_t begin = i - std::min(kNeighbours, i), end = std::min(i + kNeighbours + 1, probe_us.size());
    probe_us[i] = (sums[end] - sums[begin]) / static_cast<double>(end - begin);
  }
  return probe_us;
}

double SpeedLaw::slowness(double probe_us) const { return std::pow(probe_us, sensitivity); }

SpeedLaw fit_speed(const std::vector<std::vector<double>>& us, const std::vector<std::vector<double>>& probe_us) {
  constexpr double kSameSpeed = 1e-12;  // of the logarithms' variance: rounding
  constexpr double kMostSensitive = 4;  // times that differ far more than probes do so for another reason
  std::vector<double> medians;
  double xx = 0, xy = 0, weight = 0;
  for (std::size_t of = 0; of < us.size(); ++of) {
    medians.push_back(us[of].empty() ? 0 : timing_of(us[of]).median);
    const auto n = static_cast<double>(us[of].size());
    double x = 0, y = 0;
    for (std::size_t i = 0; i < us[of].size(); ++i) {
      x += std::log(probe_us[of][i]) / n;
      y += std::log(us[of][i]) / n;
    }
    weight += medians[of] * n;
    for (std::size_t i = 0; i < us[of].size(); ++i) {
      const double dx = std::log(probe_us[of][i]) - x;
      xx += medians[of] * dx * dx;
      xy += medians[of] * dx * (std::log(us[of][i]) - y);
    }
  }
  if (xx <= kSameSpeed * weight || xy <= 0) return {};  // no operation gets faster on a slower machine
  if (xy > kMostSensitive * xx) return {};
  SpeedLaw law{xy / xx, 0};
  for (std::size_t of = 0; of < us.size(); ++of) {
    for (const double probe : probe_us[of]) law.level += medians[of] / weight * law.slowness(probe);
  }
  return law;
}

}  // namespace alchemist

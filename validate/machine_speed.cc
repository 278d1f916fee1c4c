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

std::vector<double> smoothed_probes(const std::vector<double>& probe_us) {
  constexpr std::ptrdiff_t kNeighbours = 10;  // on each side: a small part of the time for which a speed lasts
  std::vector<double> smooth;
  for (auto at = probe_us.begin(); at != probe_us.end(); ++at) {
    smooth.push_back(timing_of({at - std::min(kNeighbours, at - probe_us.begin()),
                                at + std::min(kNeighbours + 1, probe_us.end() - at)})
                         .median);
  }
  return smooth;
}

double SpeedLaw::slowness(double probe_us) const { return std::pow(probe_us, sensitivity); }

void SpeedFit::add(std::size_t of_case, double us, double probe_us) {
  cases_.push_back(of_case);
  us_.push_back(us);
  probe_us_.push_back(probe_us);
}

SpeedLaw SpeedFit::fit() const {
  constexpr double kSameSpeed = 1e-12;  // of the logarithms' variance: rounding
  struct Case {
    std::vector<double> us, probe_us;
    double median = 0;
  };
  const std::vector<double> smooth = smoothed_probes(probe_us_);
  std::vector<Case> cases;
  for (std::size_t i = 0; i < cases_.size(); ++i) {
    if (cases_[i] >= cases.size()) cases.resize(cases_[i] + 1);
    cases[cases_[i]].us.push_back(us_[i]);
    cases[cases_[i]].probe_us.push_back(smooth[i]);
  }
  double xx = 0, xy = 0, weight = 0;
  for (Case& c : cases) {
    if (c.us.empty()) continue;
    const auto n = static_cast<double>(c.us.size());
    c.median = timing_of(c.us).median;
    double x = 0, y = 0;
    for (std::size_t i = 0; i < c.us.size(); ++i) {
      x += std::log(c.probe_us[i]) / n;
      y += std::log(c.us[i]) / n;
    }
    weight += c.median * n;
    for (std::size_t i = 0; i < c.us.size(); ++i) {
      const double dx = std::log(c.probe_us[i]) - x;
      xx += c.median * dx * dx;
      xy += c.median * dx * (std::log(c.us[i]) - y);
    }
  }
  if (xx <= kSameSpeed * weight) return {};
  SpeedLaw law{xy / xx, 0};
  for (const Case& c : cases) {
    for (const double probe : c.probe_us) law.level += c.median / weight * law.slowness(probe);
  }
  return law;
}

}  // namespace alchemist

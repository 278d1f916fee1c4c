#include "validate/machine_speed.h"

#include <array>
#include <cmath>
#include <cstddef>

#include "sim/base/check.h"
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

double SpeedLaw::slowness(double probe_us) const { return std::pow(probe_us, sensitivity); }

void SpeedFit::add(const std::vector<double>& us, const std::vector<double>& probe_us) {
  check(us.size() == probe_us.size() && !us.empty(), "a probe for each sample");
  cases_.push_back({us, probe_us, timing_of(us).median});
}

SpeedLaw SpeedFit::fit() const {
  constexpr double kSameSpeed = 1e-12;  // of the logarithms' variance: rounding
  double xx = 0, xy = 0, weight = 0;
  for (const Case& c : cases_) {
    const auto n = static_cast<double>(c.us.size());
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
  for (const Case& c : cases_) {
    for (const double probe : c.probe_us) law.level += c.median / weight * law.slowness(probe);
  }
  return law;
}

}  // namespace alchemist

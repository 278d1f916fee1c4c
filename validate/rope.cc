#include "validate/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace alchemist {

std::vector<double> rope_frequencies(const RopeSettings& settings, std::int64_t head_dim) {
  std::vector<double> frequencies;
  for (std::int64_t j = 0; j < head_dim / 2; ++j) {
    double frequency = std::pow(settings.theta, -2.0 * static_cast<double>(j) / static_cast<double>(head_dim));
    if (settings.scaling) {
      const RopeScaling& s = *settings.scaling;
      const double turns = s.original_max_position * frequency / (2 * std::numbers::pi);
      const double kept = std::clamp((turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor), 0.0, 1.0);
      frequency *= kept + (1 - kept) / s.factor;
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

}  // namespace alchemist

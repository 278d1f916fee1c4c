// How sure a mean over a few runs is.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace alchemist {

struct ConfidenceInterval {
  std::int64_t n = 0;
  double mean = 0;
  std::optional<double> low, high;  // none for a single value
};

// Mean of the values and its 95 % interval by Student's t: mean ± t(0.975; n - 1) s / sqrt(n), with s² the sum of
// squared deviations over n - 1. The values are taken as independent draws of a normal distribution. At least one.
ConfidenceInterval confidence_interval(const std::vector<double>& values);

}  // namespace alchemist

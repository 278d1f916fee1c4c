// Random draws that the generators share, each from a stream that the caller owns.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/base/random.h"
#include "workloads/spec.h"

namespace alchemist {

// Numbers of tokens, always >= 1.
class TokenSampler {
 public:
  explicit TokenSampler(const TokenDistribution& distribution);
  std::int32_t draw(RandomStream& random) const;

 private:
  TokenDistribution distribution_;
  std::vector<double> cumulative_;  // Zipf only: P(k <= low + i)
};

// Maps a standard normal value to a quantity through a table of quantiles, log-linear between its points. Probabilities
// 0 and 1 stand at -4 and +4 standard deviations.
class QuantileTable {
 public:
  QuantileTable() = default;
  // Precondition: equal sizes >= 2, probabilities rising from 0 to 1, values >= 1 and not falling.
  QuantileTable(const std::vector<double>& probabilities, const std::vector<double>& values);
  double at(double normal) const;
  std::int32_t tokens_at(double normal) const;  // rounded, >= 1

 private:
  std::vector<double> z_;
  std::vector<double> log_value_;
};

// The standard normal value that lies above a share p of all. Source: boost::math::erfc_inv.
double normal_quantile(double p);

}  // namespace alchemist

#include "workloads/distributions.h"

#include <algorithm>
#include <boost/math/special_functions/erf.hpp>
#include <cmath>
#include <limits>
#include <numbers>

#include "sim/base/check.h"
#include "workloads/limits.h"

namespace alchemist {
namespace {

constexpr double kTableEnd = 4.0;  // standard deviations

std::int32_t to_tokens(double value) {
  return static_cast<std::int32_t>(std::clamp(std::round(value), 1.0, static_cast<double>(kMaxTokens)));
}

}  // namespace

TokenSampler::TokenSampler(const TokenDistribution& distribution) : distribution_(distribution) {
  const auto* zipf = std::get_if<ZipfTokens>(&distribution_);
  if (!zipf) return;
  check(zipf->low >= 1 && zipf->high >= zipf->low, "Zipf range");
  cumulative_.reserve(static_cast<std::size_t>(zipf->high - zipf->low + 1));
  double sum = 0;
  for (std::int64_t k = zipf->low; k <= zipf->high; ++k) {
    sum += std::pow(static_cast<double>(k), -zipf->exponent);
    cumulative_.push_back(sum);
  }
  for (double& c : cumulative_) c /= sum;
}

std::int32_t TokenSampler::draw(RandomStream& random) const {
  struct Draw {
    const TokenSampler& self;
    RandomStream& random;
    std::int32_t operator()(const FixedTokens& d) const { return static_cast<std::int32_t>(d.tokens); }
    std::int32_t operator()(const UniformTokens& d) const {
      return static_cast<std::int32_t>(random.uniform_int(d.low, d.high));
    }
    std::int32_t operator()(const LognormalTokens& d) const {
      return to_tokens(d.median * std::exp(d.sigma * random.normal()));
    }
    std::int32_t operator()(const ZipfTokens& d) const {
      const auto& c = self.cumulative_;
      const auto at = std::min(std::upper_bound(c.begin(), c.end(), random.uniform()), c.end() - 1);
      return static_cast<std::int32_t>(d.low + (at - c.begin()));
    }
  };
  return std::visit(Draw{*this, random}, distribution_);
}

double normal_quantile(double p) {
  if (p <= 0) return -std::numeric_limits<double>::infinity();
  if (p >= 1) return std::numeric_limits<double>::infinity();
  return -std::numbers::sqrt2 * boost::math::erfc_inv(2.0 * p);
}

QuantileTable::QuantileTable(const std::vector<double>& probabilities, const std::vector<double>& values) {
  check(probabilities.size() == values.size() && values.size() >= 2, "quantile table's sizes");
  for (std::size_t i = 0; i < values.size(); ++i) {
    check(values[i] >= 1 && (i == 0 || values[i] >= values[i - 1]), "quantiles do not fall");
    z_.push_back(std::clamp(normal_quantile(probabilities[i]), -kTableEnd, kTableEnd));
    log_value_.push_back(std::log(values[i]));
  }
}

double QuantileTable::at(double normal) const {
  if (normal <= z_.front()) return std::exp(log_value_.front());
  if (normal >= z_.back()) return std::exp(log_value_.back());
  const auto i = static_cast<std::size_t>(std::upper_bound(z_.begin(), z_.end(), normal) - z_.begin());
  const double part = (normal - z_[i - 1]) / (z_[i] - z_[i - 1]);
  return std::exp(log_value_[i - 1] + part * (log_value_[i] - log_value_[i - 1]));
}

std::int32_t QuantileTable::tokens_at(double normal) const { return to_tokens(at(normal)); }

}  // namespace alchemist

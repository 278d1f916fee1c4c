// Random operands, and the comparison of a gradient with central finite differences.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "sim/base/random.h"

namespace alchemist {

template <class T>
std::vector<T> random_values(std::int64_t count, std::string_view name, double deviation = 1) {
  RandomStream random(11, name);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = static_cast<T>(deviation * random.normal());
  return values;
}

// sum_i weights[i] * values[i]: turns an operator's output into a number whose gradient is `weights`.
inline double weighted_sum(const std::vector<double>& values, const std::vector<double>& weights) {
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) sum += values[i] * weights[i];
  return sum;
}

// `objective` reads `input`. With h = 1e-5 the central difference of functions with derivatives of order 1 is wrong by
// about h^2 = 1e-10 plus rounding 1e-16 / h = 1e-11 times the objective, some tens at most here.
inline void expect_gradient(std::vector<double>& input, const std::vector<double>& gradient,
                            const std::function<double()>& objective, const char* what) {
  ASSERT_EQ(input.size(), gradient.size());
  constexpr double kStep = 1e-5;
  for (std::size_t i = 0; i < input.size(); ++i) {
    const double value = input[i];
    input[i] = value + kStep;
    const double above = objective();
    input[i] = value - kStep;
    const double below = objective();
    input[i] = value;
    const double numeric = (above - below) / (2 * kStep);
    ASSERT_NEAR(gradient[i], numeric, 1e-7 * std::max(1.0, std::abs(numeric))) << what << ", element " << i;
  }
}

template <class T>
void expect_near(const std::vector<T>& a, const std::vector<T>& b, double tolerance, const char* what) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << what << ", element " << i;
}

}  // namespace alchemist

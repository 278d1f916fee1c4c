#include "sim/report/confidence.h"

#include <boost/math/distributions/students_t.hpp>
#include <cmath>

#include "sim/base/check.h"

namespace alchemist {

ConfidenceInterval confidence_interval(const std::vector<double>& values) {
  check(!values.empty(), "an interval is of at least one value");
  const double n = static_cast<double>(values.size());
  // Deviations from the first value: equal values have exactly that mean and an interval of no width.
  double sum = 0;
  for (const double value : values) sum += value - values.front();
  ConfidenceInterval interval{static_cast<std::int64_t>(values.size()), values.front() + sum / n, {}, {}};
  if (values.size() == 1) return interval;
  double squares = 0;
  for (const double value : values) squares += (value - interval.mean) * (value - interval.mean);
  const double t = boost::math::quantile(boost::math::students_t(n - 1), 0.975);
  const double half = t * std::sqrt(squares / (n - 1) / n);
  interval.low = interval.mean - half;
  interval.high = interval.mean + half;
  return interval;
}

}  // namespace alchemist

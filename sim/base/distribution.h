// Random lengths of time, as configuration describes them and as the simulation draws them.
#pragma once

#include <cmath>

#include "sim/base/random.h"
#include "sim/base/time.h"

namespace alchemist {

struct DurationDistribution {
  enum class Kind { fixed, exponential, uniform, lognormal };
  Kind kind = Kind::exponential;
  Duration mean = Duration::seconds(30);  // fixed: the value; exponential: the mean; lognormal: the median
  double sigma = 1.0;                     // lognormal only: deviation of the logarithm
  Duration low;                           // uniform only
  Duration high;                          // uniform only

  bool operator==(const DurationDistribution&) const = default;
};

// One draw, >= 0, from a stream of either kind. Each kind of distribution but fixed takes one variate from it.
template <class Engine>
Duration draw(const DurationDistribution& distribution, BasicRandomStream<Engine>& stream) {
  switch (distribution.kind) {
    case DurationDistribution::Kind::fixed:
      return distribution.mean;
    case DurationDistribution::Kind::exponential:
      return Duration::seconds(stream.exponential(1.0) * distribution.mean.in_seconds());
    case DurationDistribution::Kind::uniform: {
      const double share = stream.uniform();
      return distribution.low + Duration::seconds(share * (distribution.high - distribution.low).in_seconds());
    }
    case DurationDistribution::Kind::lognormal:
      // A wide one has draws that an integer number of nanoseconds does not hold; 1e9 s are 30 years.
      return Duration::seconds(
          std::fmin(1e9, distribution.mean.in_seconds() * std::exp(distribution.sigma * stream.normal())));
  }
  return Duration();
}

}  // namespace alchemist

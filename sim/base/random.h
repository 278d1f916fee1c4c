// Named random streams. Each purpose ("arrivals", "lengths", "feedback") draws from a stream of its own, derived from
// (seed, name): two policies under the same seed see the same arrivals whatever else they draw. The distributions are
// Boost's, because the standard library's differ from one implementation to the next.
#pragma once

#include <boost/random/exponential_distribution.hpp>
#include <boost/random/gamma_distribution.hpp>
#include <boost/random/mersenne_twister.hpp>
#include <boost/random/normal_distribution.hpp>
#include <boost/random/uniform_01.hpp>
#include <boost/random/uniform_int_distribution.hpp>
#include <cstdint>
#include <limits>
#include <string_view>

#include "sim/base/hash.h"

namespace alchemist {

template <class Engine>
class BasicRandomStream {
 public:
  BasicRandomStream(std::uint64_t seed, std::string_view name) : engine_(mix64(seed, hash_name(name))) {}

  double uniform() { return boost::random::uniform_01<double>()(engine_); }  // [0, 1)
  std::int64_t uniform_int(std::int64_t low, std::int64_t high) {            // low..high, both included
    return boost::random::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }
  double normal() { return normal_(engine_); }  // mean 0, deviation 1
  double exponential(double mean) { return boost::random::exponential_distribution<double>(1.0 / mean)(engine_); }
  double gamma(double shape, double scale) { return boost::random::gamma_distribution<double>(shape, scale)(engine_); }
  std::uint64_t bits() { return engine_(); }

 private:
  Engine engine_;
  boost::random::normal_distribution<double> normal_;
};

using RandomStream = BasicRandomStream<boost::random::mt19937_64>;

// SplitMix64: costs nothing to begin, for a few draws that belong to one thing, whatever was drawn before.
class SplitMixEngine {
 public:
  using result_type = std::uint64_t;
  explicit SplitMixEngine(std::uint64_t seed) : state_(seed) {}
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
  result_type operator()() {
    const std::uint64_t state = state_;
    state_ += 0x9e3779b97f4a7c15ULL;
    return mix64(state);
  }

 private:
  std::uint64_t state_;
};

using BriefStream = BasicRandomStream<SplitMixEngine>;

}  // namespace alchemist

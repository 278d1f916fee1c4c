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
#include <string_view>

namespace alchemist {

// Mixes all 64 bits (the finaliser of SplitMix64, Steele et al. 2014).
constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// Order-dependent combination of two 64-bit values.
constexpr std::uint64_t mix64(std::uint64_t a, std::uint64_t b) { return mix64(mix64(a) + b); }

// FNV-1a of the characters of a name.
constexpr std::uint64_t hash_name(std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return h;
}

class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view name) : engine_(mix64(seed, hash_name(name))) {}

  double uniform() { return boost::random::uniform_01<double>()(engine_); }  // [0, 1)
  std::int64_t uniform_int(std::int64_t low, std::int64_t high) {            // low..high, both included
    return boost::random::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }
  double normal() { return normal_(engine_); }  // mean 0, deviation 1
  double exponential(double mean) { return boost::random::exponential_distribution<double>(1.0 / mean)(engine_); }
  double gamma(double shape, double scale) { return boost::random::gamma_distribution<double>(shape, scale)(engine_); }
  std::uint64_t bits() { return engine_(); }

 private:
  boost::random::mt19937_64 engine_;
  boost::random::normal_distribution<double> normal_;
};

}  // namespace alchemist

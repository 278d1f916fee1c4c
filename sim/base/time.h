// Simulated time: integer nanoseconds, so that sums do not depend on their order and two runs agree to the bit.
// There is deliberately no now(): the only clock is the stamp of the event being handled.
#pragma once

#include <cmath>
#include <compare>
#include <cstdint>
#include <limits>

namespace alchemist {

// A length of time in nanoseconds. Range: about +-292 years.
class Duration {
 public:
  constexpr Duration() = default;
  static constexpr Duration nanoseconds(std::int64_t ns) { return Duration(ns); }
  static constexpr Duration microseconds(std::int64_t us) { return Duration(us * 1'000); }
  static constexpr Duration milliseconds(std::int64_t ms) { return Duration(ms * 1'000'000); }
  // Rounds to the nearest nanosecond, halves away from zero.
  static Duration seconds(double s) { return Duration(round_half_away(s * 1e9)); }
  static constexpr Duration max() { return Duration(std::numeric_limits<std::int64_t>::max()); }

  constexpr std::int64_t count_ns() const { return ns_; }
  constexpr double in_seconds() const { return static_cast<double>(ns_) * 1e-9; }
  constexpr double in_milliseconds() const { return static_cast<double>(ns_) * 1e-6; }

  constexpr auto operator<=>(const Duration&) const = default;
  constexpr Duration& operator+=(Duration d) {
    ns_ += d.ns_;
    return *this;
  }
  constexpr Duration& operator-=(Duration d) {
    ns_ -= d.ns_;
    return *this;
  }
  friend constexpr Duration operator+(Duration a, Duration b) { return Duration(a.ns_ + b.ns_); }
  friend constexpr Duration operator-(Duration a, Duration b) { return Duration(a.ns_ - b.ns_); }
  friend constexpr Duration operator*(Duration a, std::int64_t k) { return Duration(a.ns_ * k); }
  friend constexpr Duration operator*(std::int64_t k, Duration a) { return a * k; }
  // To whole nanoseconds, towards zero.
  friend constexpr Duration scaled(Duration d, double factor) {
    return Duration(static_cast<std::int64_t>(static_cast<double>(d.ns_) * factor));
  }
  friend constexpr double operator/(Duration a, Duration b) {
    return static_cast<double>(a.ns_) / static_cast<double>(b.ns_);
  }

 private:
  explicit constexpr Duration(std::int64_t ns) : ns_(ns) {}
  // As std::llround, which is a library call that every simulated step would make. The fraction is exact.
  static constexpr std::int64_t round_half_away(double x) {
    const auto whole = static_cast<std::int64_t>(x);
    return whole + static_cast<std::int64_t>(2 * (x - static_cast<double>(whole)));
  }
  std::int64_t ns_ = 0;
};

// A point in time: nanoseconds since the start of the run.
class Time {
 public:
  constexpr Time() = default;
  static constexpr Time from_ns(std::int64_t ns) { return Time(Duration::nanoseconds(ns)); }
  static constexpr Time max() { return Time(Duration::max()); }

  constexpr Duration since_start() const { return since_start_; }
  constexpr std::int64_t count_ns() const { return since_start_.count_ns(); }
  constexpr double in_seconds() const { return since_start_.in_seconds(); }

  constexpr auto operator<=>(const Time&) const = default;
  constexpr Time& operator+=(Duration d) {
    since_start_ += d;
    return *this;
  }
  friend constexpr Time operator+(Time t, Duration d) { return Time(t.since_start_ + d); }
  friend constexpr Time operator-(Time t, Duration d) { return Time(t.since_start_ - d); }
  friend constexpr Duration operator-(Time a, Time b) { return a.since_start_ - b.since_start_; }

 private:
  explicit constexpr Time(Duration d) : since_start_(d) {}
  Duration since_start_;
};

}  // namespace alchemist

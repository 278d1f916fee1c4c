// The largest value of an interval that is good, where everything below a good value is good.
#pragma once

#include <cmath>
#include <optional>

namespace alchemist {

// Usage: while (!b.done()) b.tell(is_good(b.next())). Looks at the two ends first; then halves the interval until it is
// at most `tolerance` wide. With `whole`, from whole ends, it looks at whole numbers alone.
class Bisection {
 public:
  Bisection(double low, double high, double tolerance, bool whole = false)
      : low_(low), high_(high), tolerance_(tolerance), whole_(whole) {}

  bool done() const { return done_; }
  double next() const { return !best_ ? low_ : !bad_ ? high_ : between(*best_, *bad_); }
  void tell(bool good);
  // Of the values looked at; none if not even the lowest is good, or none was looked at.
  std::optional<double> best() const { return best_; }

 private:
  double between(double good, double bad) const {
    const double middle = good + (bad - good) / 2;
    return whole_ ? std::floor(middle) : middle;
  }

  double low_, high_, tolerance_;
  bool whole_;
  std::optional<double> best_;  // largest good value so far
  std::optional<double> bad_;   // smallest other one
  bool done_ = false;
};

inline void Bisection::tell(bool good) {
  const double value = next();
  (good ? best_ : bad_) = value;
  done_ = !best_ || best_ == high_ || (bad_ && *bad_ - *best_ <= tolerance_);
}

}  // namespace alchemist

#include "workloads/arrivals.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/base/longest_run.h"
#include "sim/base/random.h"
#include "workloads/trace.h"
#include "workloads/workload_source.h"

namespace alchemist {
namespace {

constexpr double kLongestGap = 1e9;  // seconds; keeps sums of very slow processes on the clock

// Times past the end of every run need not be told apart; a source cuts them off, or the run refuses them.
constexpr Time kNever = Time() + kLongestRun + Duration::nanoseconds(1);
Time later(Time now, Duration gap) { return std::min(now + gap, kNever); }
Duration gap(double seconds) { return Duration::seconds(std::min(seconds, kLongestGap)); }

class FixedProcess : public ArrivalProcess {
 public:
  explicit FixedProcess(double rate) : rate_(rate) {}
  // From the index, not by adding up, so that rounding does not accumulate.
  std::optional<Time> next() override {
    return later(Time(), Duration::seconds(std::min(static_cast<double>(index_++) / rate_, kNever.in_seconds())));
  }

 private:
  double rate_;
  std::int64_t index_ = 0;
};

// Independent gamma gaps with mean 1 / rate and variation cv: shape 1 / cv^2. Poisson is cv 1.
class RenewalProcess : public ArrivalProcess {
 public:
  RenewalProcess(double rate, double cv, std::uint64_t seed)
      : rate_(rate), cv_(cv), random_(seed, "workload.arrivals") {}
  std::optional<Time> next() override {
    const double seconds =
        cv_ == 1.0 ? random_.exponential(1.0 / rate_) : random_.gamma(1.0 / (cv_ * cv_), cv_ * cv_ / rate_);
    return now_ = later(now_, gap(seconds));
  }

 private:
  double rate_;
  double cv_;
  RandomStream random_;
  Time now_;
};

// Starts in the on state with its long-run probability, so that the process is stationary from the first second.
class OnOffProcess : public ArrivalProcess {
 public:
  OnOffProcess(const OnOffArrivals& spec, std::uint64_t seed) : spec_(spec), random_(seed, "workload.arrivals") {
    const double on = spec_.mean_on.in_seconds();
    on_ = random_.uniform() < on / (on + spec_.mean_off.in_seconds());
    change_ = Time() + stay();
  }
  std::optional<Time> next() override {
    for (;;) {
      if (now_ == kNever) return now_;
      const double rate = on_ ? spec_.rate_on : spec_.rate_off;
      if (rate > 0) {
        const Time at = later(now_, gap(random_.exponential(1.0 / rate)));
        if (at <= change_) return now_ = at;
      }
      now_ = change_;  // exponential gaps forget: the draw that reached beyond the state is simply repeated
      on_ = !on_;
      change_ = later(now_, stay());
    }
  }

 private:
  Duration stay() { return gap(random_.exponential((on_ ? spec_.mean_on : spec_.mean_off).in_seconds())); }
  OnOffArrivals spec_;
  RandomStream random_;
  bool on_ = true;
  Time now_;
  Time change_;
};

// Thinning (Lewis and Shedler 1979): candidates at the peak rate, kept with probability rate(t) / peak.
class DiurnalProcess : public ArrivalProcess {
 public:
  DiurnalProcess(const DiurnalArrivals& spec, std::uint64_t seed)
      : spec_(spec),
        swing_((spec.peak_to_trough - 1) / (spec.peak_to_trough + 1)),
        random_(seed, "workload.arrivals") {}
  std::optional<Time> next() override {
    const double peak = spec_.rate * (1 + swing_);
    for (;;) {
      now_ = later(now_, gap(random_.exponential(1.0 / peak)));
      if (now_ == kNever) return now_;
      const double phase = 2 * std::numbers::pi * ((now_.since_start() - spec_.peak_at) / spec_.period);
      if (random_.uniform() * (1 + swing_) < 1 + swing_ * std::cos(phase)) return now_;
    }
  }

 private:
  DiurnalArrivals spec_;
  double swing_;
  RandomStream random_;
  Time now_;
};

class TraceProcess : public ArrivalProcess {
 public:
  TraceProcess(const TraceSpec& spec, std::optional<std::int64_t> requests) {
    const Trace trace = read_trace(spec, RateOf::arrivals, requests);
    if (!trace.has_arrivals) throw ConfigError(spec.path + ": has no arrival times, so it cannot give the arrivals");
    for (const TraceRow& row : trace.rows) {
      if (!row.after_previous) times_.push_back(Time() + row.arrival);
    }
  }
  std::optional<Time> next() override {
    if (index_ == times_.size()) return std::nullopt;
    return times_[index_++];
  }

 private:
  std::vector<Time> times_;
  std::size_t index_ = 0;
};

}  // namespace

std::unique_ptr<ArrivalProcess> make_arrivals(const ArrivalSpec& spec, std::uint64_t seed,
                                              std::optional<std::int64_t> requests) {
  struct Make {
    std::uint64_t seed;
    std::optional<std::int64_t> requests;
    std::unique_ptr<ArrivalProcess> operator()(const PoissonArrivals& s) const {
      return std::make_unique<RenewalProcess>(s.rate, 1.0, seed);
    }
    std::unique_ptr<ArrivalProcess> operator()(const GammaArrivals& s) const {
      return std::make_unique<RenewalProcess>(s.rate, s.cv, seed);
    }
    std::unique_ptr<ArrivalProcess> operator()(const OnOffArrivals& s) const {
      return std::make_unique<OnOffProcess>(s, seed);
    }
    std::unique_ptr<ArrivalProcess> operator()(const DiurnalArrivals& s) const {
      return std::make_unique<DiurnalProcess>(s, seed);
    }
    std::unique_ptr<ArrivalProcess> operator()(const FixedArrivals& s) const {
      return std::make_unique<FixedProcess>(s.rate);
    }
    std::unique_ptr<ArrivalProcess> operator()(const TraceArrivals& s) const {
      return std::make_unique<TraceProcess>(s.trace, requests);
    }
    std::unique_ptr<ArrivalProcess> operator()(const ClosedLoopArrivals&) const {
      check(false, "a closed loop has no arrival process");
      return nullptr;
    }
  };
  return std::visit(Make{seed, requests}, spec);
}

std::optional<double> mean_rate(const ArrivalSpec& arrivals) {
  struct Rate {
    std::optional<double> operator()(const PoissonArrivals& s) const { return s.rate; }
    std::optional<double> operator()(const GammaArrivals& s) const { return s.rate; }
    std::optional<double> operator()(const OnOffArrivals& s) const {
      const double on = s.mean_on.in_seconds(), off = s.mean_off.in_seconds();
      return (s.rate_on * on + s.rate_off * off) / (on + off);
    }
    std::optional<double> operator()(const DiurnalArrivals& s) const { return s.rate; }
    std::optional<double> operator()(const FixedArrivals& s) const { return s.rate; }
    std::optional<double> operator()(const TraceArrivals& s) const { return s.trace.rate; }
    std::optional<double> operator()(const ClosedLoopArrivals&) const { return std::nullopt; }
  };
  return std::visit(Rate{}, arrivals);
}

void set_rate(WorkloadSpec& spec, double rate) {
  struct Set {
    double rate;
    double old_rate;  // of what has one
    void operator()(PoissonArrivals& a) const { a.rate = rate; }
    void operator()(GammaArrivals& a) const { a.rate = rate; }
    void operator()(OnOffArrivals& a) const {
      a.rate_on *= rate / old_rate;
      a.rate_off *= rate / old_rate;
    }
    void operator()(DiurnalArrivals& a) const { a.rate = rate; }
    void operator()(FixedArrivals& a) const { a.rate = rate; }
    void operator()(TraceArrivals& a) const { (*this)(a.trace); }
    void operator()(TraceSpec& trace) const {
      trace.rate = rate;
      trace.rate_scale = 1.0;
    }
    void operator()(ClosedLoopArrivals&) const {
      throw ConfigError("a closed loop has no rate to set: its rate follows from concurrent sessions and think time");
    }
  };
  if (auto* trace = std::get_if<TraceSpec>(&spec.source)) return Set{rate, 0}(*trace);
  ArrivalSpec& arrivals = std::get<GeneratedWorkload>(spec.source).arrivals;
  std::visit(Set{rate, mean_rate(arrivals).value_or(0)}, arrivals);
}

}  // namespace alchemist

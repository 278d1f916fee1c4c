// What has been learnt about feedback: how likely it comes, and when. Records teach it, each by the age at which its
// feedback came, or by the age to which it lived in vain: a rate of events by age (hazard) with censored observations,
// as in survival analysis (Kaplan and Meier 1958, Nelson 1969).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sim/base/time.h"

namespace alchemist {

class FeedbackModel {
 public:
  // A record's fate is known at `age`: its feedback came, or it was given up.
  void learn(Duration age, bool came);

  // The ages of the records whose fate is open, so that those which live long count while they live. Replaces the ones
  // given before.
  void observe_open(std::span<const Duration> ages);

  // True once enough has been seen to believe the numbers below.
  bool knows() const { return seen_ >= kEnough; }
  // Chance that feedback comes within this age. Beyond the ages seen, its rate is taken to be as at the last of them.
  double wanted_within(double age_s) const;

  // What becomes of a record that is given up at this age.
  struct Prospect {
    double age_s = 0;
    double wanted = 0;  // chance that its feedback comes before that
    double wait_s = 0;  // mean time until its feedback comes or it is given up
  };
  // Two ages for each doubling, from 0.25 s to 3.2 hours.
  static constexpr std::size_t kBins = 32;
  std::array<Prospect, kBins> prospects() const;

 private:
  static constexpr double kFirst_s = 0.25;
  static constexpr std::int64_t kEnough = 50;
  static std::size_t bin_of(double age_s);
  static double upper_edge(std::size_t bin);
  static void expose(std::array<double, kBins>& exposure, double age_s);
  double exposure(std::size_t bin) const { return exposure_[bin] + open_[bin]; }
  double rate(std::size_t bin) const;

  std::array<double, kBins> came_{};      // events
  std::array<double, kBins> exposure_{};  // seconds that records spent at this age
  std::array<double, kBins> open_{};      // the same of records whose fate is open
  std::int64_t seen_ = 0;
  double weight_ = 0;
};

}  // namespace alchemist

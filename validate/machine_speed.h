// How fast a processor is at the moment, and what that means for times that are measured on it. A machine that is
// shared with others changes its speed all the time: a neighbour on the same core's other hardware thread makes
// everything a third slower for seconds. A calibration and a run meet such times unequally often. A fixed piece of
// arithmetic, timed before each of their operations, tells how often; it has nothing else to do with what they run.
#pragma once

#include <vector>

namespace alchemist {

// Microseconds that this piece of arithmetic takes now: some ten, in registers alone.
double speed_probe_us();

// Operations take times in proportion to probe ^ sensitivity. `level`: the mean of that in a calibration, each of its
// operations with the weight of its median time. 0: not known.
struct SpeedLaw {
  double sensitivity = 0;
  double level = 0;

  double slowness(double probe_us) const;
};

class SpeedFit {
 public:
  // Samples of one case, and the probe right before each of them.
  void add(const std::vector<double>& us, const std::vector<double>& probe_us);
  // The slope of log(time) over log(probe) within the cases, each with the weight of its median time. Not known without
  // samples, or if the machine's speed never changed.
  SpeedLaw fit() const;

 private:
  struct Case {
    std::vector<double> us, probe_us;
    double median = 0;
  };
  std::vector<Case> cases_;
};

}  // namespace alchemist

// How fast a processor is at the moment, and what that means for times that are measured on it. A machine that is
// shared with others changes its speed all the time: a neighbour on the same core's other hardware thread makes
// everything a third slower for seconds. A calibration and a run meet such times unequally often. A fixed piece of
// arithmetic, timed before each of their operations, tells how often; it has nothing else to do with what they run.
#pragma once

#include <vector>

namespace alchemist {

// Microseconds that this piece of arithmetic takes now: some ten, in registers alone.
double speed_probe_us();

// The machine changes its speed within an operation, of which a probe sees a moment. Of probes in the order of time,
// the mean of each and its neighbours; one that takes more than twice what most do was interrupted itself, and counts
// as twice. (The median of the neighbours in place of their mean tells which speed was more frequent, not the mixture:
// of 50 runs of `tiny` operations went with its power 0.55 within a run, 0.73 from run to run; with the mean's, 0.62
// and 0.72.)
std::vector<double> smoothed_probes(std::vector<double> probe_us);

// Operations take times in proportion to probe ^ sensitivity. `level`: the mean of that in a calibration, each of its
// operations with the weight of its median time. 0: not known.
struct SpeedLaw {
  double sensitivity = 0;
  double level = 0;

  double slowness(double probe_us) const;
};

// Of samples by case, what they took and their smoothed probes: the slope of log(time) over log(probe) within the
// cases, each with the weight of its median time. Not known without samples, or if the machine's speed never
// changed enough to explain the times.
SpeedLaw fit_speed(const std::vector<std::vector<double>>& us, const std::vector<std::vector<double>>& probe_us);

}  // namespace alchemist

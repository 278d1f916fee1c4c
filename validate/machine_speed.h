// How fast a processor is at the moment, and what that means for times that are measured on it. A machine that is
// shared with others changes its speed all the time: a neighbour on the same core's other hardware thread makes
// everything a third slower for seconds. A calibration and a run meet such times unequally often. A fixed piece of
// arithmetic, timed before each of their operations, tells how often; it has nothing else to do with what they run.
#pragma once

#include <cstddef>
#include <vector>

namespace alchemist {

// Microseconds that this piece of arithmetic takes now: some ten, in registers alone.
double speed_probe_us();

// A probe is as short as to be disturbed itself. Of probes in the order of time, the median of each and its neighbours.
std::vector<double> smoothed_probes(const std::vector<double>& probe_us);

// Operations take times in proportion to probe ^ sensitivity. `level`: the mean of that in a calibration, each of its
// operations with the weight of its median time. 0: not known.
struct SpeedLaw {
  double sensitivity = 0;
  double level = 0;

  double slowness(double probe_us) const;
};

class SpeedFit {
 public:
  // An operation of that case took `us`; the probe right before it. To be told in the order of time.
  void add(std::size_t of_case, double us, double probe_us);
  // The slope of log(time) over log(smoothed probe) within the cases, each with the weight of its median time. Not
  // known without samples, or if the machine's speed never changed.
  SpeedLaw fit() const;

 private:
  std::vector<std::size_t> cases_;  // by sample, as the next two
  std::vector<double> us_;
  std::vector<double> probe_us_;
};

}  // namespace alchemist

// What a calibration has timed, in the order of time. A machine whose speed changes (machine_speed.h) takes whatever
// comes last, or once a round, at another speed than the rest: a few samples' median is then the price of one speed or
// of the other, by chance, and prices do not fit each other. So the samples are brought to one speed, the mean of all,
// before their medians are taken.
//
// Work of many operations takes the sum of what they take, disturbances included, and a sum goes by the mean. The mean
// of a case's few samples is at the mercy of each disturbance; so a case has its median, and all of them together say
// how far means are from medians.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "validate/machine_speed.h"
#include "validate/measurement.h"

namespace alchemist {

class SampleLog {
 public:
  // `probes`: measures the machine's speed before each sample; of processors.
  explicit SampleLog(bool probes) : probes_(probes) {}

  std::size_t add_case() { return cases_++; }
  void time(std::size_t of_case, const std::function<void()>& work);
  // A sample of that case took `us`; the probe right before it, 0 if there was none.
  void add(std::size_t of_case, double us, double probe_us);

  struct Result {
    std::vector<Timing> timings;  // by case; zeros without samples
    double disturbance = 1;       // time of all samples / what it had been, had each taken its case's median
    SpeedLaw speed;               // not known without probes, or if the machine's speed never changed
  };
  Result result() const;

 private:
  struct Sample {
    std::size_t of_case;
    double us;
    double probe_us;
  };
  // By case.
  using Values = std::vector<std::vector<double>>;

  Values by_case(const std::function<double(std::size_t)>& value_of_sample) const;

  bool probes_;
  std::size_t cases_ = 0;
  std::vector<Sample> samples_;
};

}  // namespace alchemist

#include "validate/sample_log.h"

#include <utility>

namespace alchemist {

void SampleLog::time(std::size_t of_case, const std::function<void()>& work) {
  const double probe_us = probes_ ? speed_probe_us() : 0;
  add(of_case, microseconds_of(work), probe_us);
}

void SampleLog::add(std::size_t of_case, double us, double probe_us) { samples_.push_back({of_case, us, probe_us}); }

SampleLog::Values SampleLog::by_case(const std::function<double(std::size_t)>& value_of_sample) const {
  Values values(cases_);
  for (std::size_t i = 0; i < samples_.size(); ++i) values[samples_[i].of_case].push_back(value_of_sample(i));
  return values;
}

SampleLog::Result SampleLog::result() const {
  Result result;
  Values us = by_case([&](std::size_t i) { return samples_[i].us; });
  if (probes_) {
    std::vector<double> probes;
    for (const Sample& sample : samples_) probes.push_back(sample.probe_us);
    probes = smoothed_probes(std::move(probes));
    result.speed = fit_speed(us, by_case([&](std::size_t i) { return probes[i]; }));
    if (result.speed.level > 0) {
      us = by_case(
          [&](std::size_t i) { return samples_[i].us * result.speed.level / result.speed.slowness(probes[i]); });
    }
  }
  double total = 0, medians = 0;
  for (const std::vector<double>& samples : us) {
    result.timings.push_back(samples.empty() ? Timing() : timing_of(samples));
    for (const double sample : samples) total += sample;
    medians += result.timings.back().median * static_cast<double>(samples.size());
  }
  if (medians > 0) result.disturbance = total / medians;
  return result;
}

}  // namespace alchemist

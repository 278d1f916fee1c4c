// How long a serving step takes. What the simulator charges; what a policy may believe is an Estimator.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "sim/base/batch.h"
#include "sim/base/longest_run.h"
#include "sim/base/time.h"

namespace alchemist {

class StepCost {
 public:
  virtual ~StepCost() = default;
  // From the step's start to the start of the next, if the next is ready: kernels and the host time that they do not
  // hide. > 0 for a shape that has tokens.
  virtual Duration step(const BatchShape& shape) const = 0;
  // From the moment at which a step is planned to the earliest at which it can start. No step is shorter, so that one
  // planned while another runs never waits for the host; one planned on an idle device, or during a short piece of
  // training, does. Zero where the GPU waits for the host in every step: then it is part of step().
  virtual Duration host_time() const { return Duration(); }
  // What a user should know of the prices so far, such as how far they lie outside what was measured.
  virtual std::vector<std::string> warnings() const { return {}; }
};

// The host prepares a step while the previous one runs if scheduling is asynchronous, so that a step takes the longer
// of the two; otherwise the GPU waits for the host.
// A step that absurd hardware makes longer than any run is cut down to the longest, which nothing survives.
inline Duration with_host_time(double gpu_seconds, Duration host, bool async_scheduling) {
  const Duration gpu = Duration::seconds(std::min(gpu_seconds, kLongestRun.in_seconds()));
  return async_scheduling ? std::max(gpu, host) : gpu + host;
}

// StepCost::host_time of steps that with_host_time() prices.
inline Duration ahead_of_step(Duration host, bool async_scheduling) { return async_scheduling ? host : Duration(); }

}  // namespace alchemist

// From the description of a workload to the stream of its requests.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "sim/base/workload.h"
#include "workloads/spec.h"

namespace alchemist {

// Files that the description names are read here. Throws ConfigError for a file that is missing, empty or broken, and
// for a description that cannot be served (no arrival times in the trace, closed loop without sessions).
std::unique_ptr<WorkloadSource> make_source(const WorkloadSpec& spec, std::uint64_t seed);

// Long-run requests per second; none for closed loop and for trace arrivals (known only from the file).
std::optional<double> mean_rate(const ArrivalSpec& arrivals);

// Changes the arrivals so that the long-run rate is `rate`, keeping their shape: gaps' variation, on to off ratio, peak
// to trough. A trace is scaled in time. Throws ConfigError for a closed loop, whose rate is an outcome.
void set_rate(WorkloadSpec& spec, double rate);

}  // namespace alchemist

// A run that somebody else measured, from either kind of file.
#pragma once

#include <string>
#include <vector>

#include "sim/report/compare.h"

namespace alchemist {

struct MeasuredRequests {
  RunTimes run;
  ArrivalClock arrivals = ArrivalClock::kEngine;
};

// A CSV (read_measured_requests), or a run of `vllm bench serve` (workloads/vllm_bench.h). Of the latter requests that
// failed are left out, and the others are numbered by when they were sent; the client does not know when the engine
// scheduled them, and its gaps are those between the parts of an answer that came. ConfigError as the readers say, and
// for a run without start_times, without a request that succeeded, and for one that has an answer and no time to its
// first token.
MeasuredRequests read_measured(const std::string& path);

}  // namespace alchemist

// Runs a workload without a system that serves it, for files and descriptions.
#pragma once

#include <cstdint>
#include <functional>

#include "sim/base/workload.h"
#include "workloads/spec.h"

namespace alchemist {

// Calls `use` for every request in order of arrival. Where a turn follows the end of an answer (closed loop, chained
// requests of a trace), the answer is taken to be complete answer_delay + output_tokens * answer_time_per_token after
// the request's arrival, as the sessions of the workload say, else 0.2 s + 30 ms per token. The chain ids that a
// request points at are valid during the call. A trace without arrival times gives its requests in the order of the
// file, all at 0. Returns whether there are arrival times.
bool for_each_request(const WorkloadSpec& spec, std::uint64_t seed,
                      const std::function<void(const WorkloadRequest&)>& use);

}  // namespace alchemist

#include <cstdio>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "workloads/closed_loop.h"
#include "workloads/trace_source.h"
#include "workloads/workload_source.h"

namespace alchemist {

std::unique_ptr<WorkloadSource> make_source(const WorkloadSpec& spec, std::uint64_t seed) {
  if (const auto* replay = std::get_if<TraceSpec>(&spec.source)) {
    Trace trace = read_trace(*replay, RateOf::requests, spec.requests);
    if (!trace.has_arrivals) {
      throw ConfigError::at(replay->path, 0,
                            "has no arrival times to replay (Vidur's column is arrived_at): use it as lengths "
                            "(lengths: {empirical: FILE}) with arrivals of your choice");
    }
    if (trace.skipped_rows > 0) {
      std::fprintf(stderr, "%s: %lld requests with no prompt or no output tokens left out\n", replay->path.c_str(),
                   static_cast<long long>(trace.skipped_rows));
    }
    if (trace.late_turns > 0) {
      std::fprintf(
          stderr,
          "%s:%d: arrives behind a later turn of its session, the first of %lld such lines; turns are taken as "
          "they arrive\n",
          replay->path.c_str(), trace.first_late_line, static_cast<long long>(trace.late_turns));
    }
    return std::make_unique<TraceSource>(std::move(trace), spec.requests, spec.duration);
  }
  const auto& generated = std::get<GeneratedWorkload>(spec.source);
  // Checked where descriptions are read; a trace of arrivals ends by itself.
  check(spec.requests || spec.duration || std::holds_alternative<TraceArrivals>(generated.arrivals),
        "a generated workload ends");
  if (std::holds_alternative<ClosedLoopArrivals>(generated.arrivals)) {
    return std::make_unique<ClosedLoopSource>(spec, seed);
  }
  return std::make_unique<OpenLoopSource>(spec, seed);
}

}  // namespace alchemist

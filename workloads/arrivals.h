// Arrival processes: when requests come, as an endless stream of times that do not fall.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "sim/base/time.h"
#include "workloads/spec.h"

namespace alchemist {

class ArrivalProcess {
 public:
  virtual ~ArrivalProcess() = default;
  // The next arrival; none when the process has ended (only a trace's does).
  virtual std::optional<Time> next() = 0;
};

// Draws from the stream "workload.arrivals" of the seed. A closed loop has no process of its own: precondition. Where
// no more than `requests` are asked for, the rate to which a trace is scaled is that of these.
std::unique_ptr<ArrivalProcess> make_arrivals(const ArrivalSpec& spec, std::uint64_t seed,
                                              std::optional<std::int64_t> requests = {});

}  // namespace alchemist

// Results of a point over its seeds, alone and against another point.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "sim/report/confidence.h"
#include "sim/sweep/sweep_run.h"

namespace alchemist {

using PointRows = std::vector<ResultRow>;  // of one point

// Mean and interval of a result (by its place in result_keys()) over the runs that have it as a number; none if none
// has.
std::optional<ConfidenceInterval> mean_over_seeds(const PointRows& rows, std::size_t metric);

// The same of the differences, seed by seed: since all policies see the same arrivals with the same seed, these vary
// less than the results themselves.
std::optional<ConfidenceInterval> paired_difference(const PointRows& rows, const PointRows& baseline,
                                                    std::size_t metric);

// Mean of the result of that name over the runs that have it; true counts as 1, false as 0.
std::optional<double> mean_result(const PointRows& rows, const std::string& metric);

// The point that is as this one but has the baseline policy. None if there is none, or if this is one itself. Keys that
// are zipped with the policy may differ: the first such point counts.
std::optional<std::size_t> baseline_point(const SweepSpec& spec, const std::vector<SweepPoint>& points,
                                          std::size_t point);

}  // namespace alchemist

// What a sweep says on the terminal at its end.
#pragma once

#include <string>
#include <vector>

#include "sim/sweep/sweep_run.h"
#include "sim/sweep/sweep_search.h"

namespace alchemist {

// A line a point: its axes, and a few results as mean ± half of the 95 % interval over the seeds.
std::string points_table(const SweepRun& run);

// A line a candidate of the last round, best first, and the answer.
std::string search_table(const SweepRun& run, const std::vector<SearchRound>& rounds);

}  // namespace alchemist

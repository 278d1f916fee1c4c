// The search of a sweep with the key `maximise` or `minimise`, in place of its full grid.
//
// The candidates are the points of grid and zip. Each round runs those that are still in it, ranks them, and lets the
// better half (rounded up) go on to the next, whose runs are longer (the key `halving`) or have more seeds: round k of
// R uses the first ceil(k S / R) of S seeds. Without `halving` there are as many rounds as halve the candidates to one,
// but no more than seeds. With the key `search` each candidate gets the largest value of that key, found by bisection,
// whose means keep every bound of `subject_to`: what keeps them at a value is taken to keep them at every lower one.
// The smallest, if that key is what is minimised. Ranked higher is what keeps the bounds, then what misses them by less
// (a longer run may keep them), then what has the better mean of the goal, then what comes first in the sweep.
//
// Which runs are made depends on the results of others, but never on the number of threads or on time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "sim/sweep/sweep_run.h"

namespace alchemist {

struct RankedCandidate {
  std::size_t candidate = 0;  // its place among grid_points()
  // That was judged; with `search` the best found, or the end of the axis where bounds are kept most easily.
  std::int64_t point = 0;
  bool feasible = false;        // keeps every bound
  double excess = 0;            // share of a bound by which it is missed, of the one that is missed by most
  std::optional<double> score;  // mean of the goal
  bool kept = false;            // goes on to the next round; in the last round: is the answer
};

struct SearchRound {
  std::size_t seeds = 0;
  std::vector<RankedCandidate> ranking;  // best first
};

std::vector<SearchRound> run_search(SweepRun& run);

// search.csv, one row a candidate and round: round (from 1), rank (from 1), point, the axes, seeds, feasible, score,
// kept.
void write_search(const std::filesystem::path& directory, const SweepRun& run, const std::vector<SearchRound>& rounds);

}  // namespace alchemist

// The tables that a sweep ends with.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sim/report/output_file.h"
#include "sim/sweep/sweep_run.h"

namespace alchemist {

// Writes, all together or none:
//   results.csv    one row a run: point, the axes, seed, status (ok | failed), message, every result (empty: none)
//   intervals.csv  mean and 95 % interval over the seeds: point, the axes, metric, n, mean, ci95_low, ci95_high
//   paired.csv     where policies are compared: point, the axes, baseline, metric, n, mean_difference, ci95_low,
//                  ci95_high of the result minus that of the baseline policy with the same seed, all else equal
// Intervals are of results that are numbers, over the runs that are done and have them.
void write_sweep_tables(const std::filesystem::path& directory, const SweepRun& run);

// The columns that every table of a sweep begins with: "point,policy,workload.rate", and their values.
std::string point_header(const SweepSpec& spec);
std::string point_fields(const SweepRun& run, std::int64_t point);

}  // namespace alchemist

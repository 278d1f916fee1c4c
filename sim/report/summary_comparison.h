// A real run beside its simulation: every number of their summaries, and how far the simulated one is off.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/report/summary.h"

namespace alchemist {

struct SummaryDifference {
  std::string key;  // of summary.json
  double real = 0;
  double simulated = 0;
  std::optional<double> error;  // (simulated - real) / real; none where real is 0
};

// The numbers that both have, in the order of the file; those that the configuration sets alone are left out.
std::vector<SummaryDifference> compare_summaries(const Summary& real, const Summary& simulated);

std::string difference_table(const std::vector<SummaryDifference>& differences);  // for people
std::string difference_csv(const std::vector<SummaryDifference>& differences);    // metric,real,simulated,error

}  // namespace alchemist

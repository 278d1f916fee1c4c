// A real run beside its simulation: every number of their summaries, and how far the simulated one is off.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/report/summary.h"

namespace alchemist {

struct SimulatedValue {
  double value = 0;
  std::optional<double> error;  // (simulated - real) / real; none where real is 0
};

struct SummaryDifference {
  std::string key;  // of summary.json
  double real = 0;
  SimulatedValue simulated;
  SimulatedValue repriced;
  std::optional<SimulatedValue> at_speed;
};

// The numbers that all have, in the order of the file; those that the configuration sets alone are left out.
// `repriced`: simulated with operations that take as long as those of the real run did. `at_speed`, if known: simulated
// for the speed that the machine had in the real run.
std::vector<SummaryDifference> compare_summaries(const Summary& real, const Summary& simulated, const Summary& repriced,
                                                 const std::optional<Summary>& at_speed);

std::string difference_table(const std::vector<SummaryDifference>& differences);  // for people
// metric,real,simulated,error,repriced,repriced_error,at_speed,at_speed_error
std::string difference_csv(const std::vector<SummaryDifference>& differences);

}  // namespace alchemist

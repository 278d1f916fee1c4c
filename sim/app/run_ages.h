// How old records were when a run trained on them, from what `alchemist run` or the real half of `validate` wrote.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace alchemist {

struct RunAges {
  std::string name;  // the last part of the folder's path
  std::vector<std::int32_t>
      lags;  // weight versions, of the samples in the order in which they were trained; 0: no record
  double mean_lag = 0;
  double train_tokens_per_s = 0;
};

// Of the folder's requests.csv and summary.json. ConfigError, with file and line, where they are missing or are not
// what a run writes, and where nothing was trained.
RunAges read_run_ages(const std::string& folder);

}  // namespace alchemist

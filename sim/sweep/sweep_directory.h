// The directory of a sweep's results while the sweep runs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "sim/report/results_database.h"

namespace alchemist {

// Makes the directory where it is missing, and holds it so that no second sweep writes to it. ConfigError where
//   - it has the results of a run (`alchemist run`),
//   - another process holds it,
//   - it has results and `resume` is false,
//   - its results are those of another sweep (`sweep` is the text of sweep.yaml; the message says what differs) or of
//     another version of the program,
//   - it cannot be written.
// A directory without results is begun, with or without `resume`.
class SweepDirectory {
 public:
  SweepDirectory(const std::filesystem::path& directory, const std::string& sweep, bool resume);
  ~SweepDirectory();
  SweepDirectory(const SweepDirectory&) = delete;
  SweepDirectory& operator=(const SweepDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  ResultsDatabase& results() { return *results_; }

 private:
  void lock();
  void begin_or_resume(const std::string& sweep, bool resume);

  std::filesystem::path path_;
  int lock_ = -1;  // descriptor of the locked file
  std::optional<ResultsDatabase> results_;
};

}  // namespace alchemist

// One run of a sweep: a point of its grid with one of its seeds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "sim/app/sweep_config.h"

namespace alchemist {

struct RunTask {
  std::int64_t point = 0;  // number of the point, from 0
  std::int64_t seed = 0;
  std::shared_ptr<const SweepBase> base;
  std::vector<YamlOverride> overrides;             // the seed among them
  std::optional<std::filesystem::path> directory;  // where the run's own files go; none: it leaves none
};

enum class RunStatus {
  kOk,
  kFailed,      // this point cannot be run: `message` says why
  kBroken,      // our mistake: `message` begins with kInternalError
  kUnwritable,  // results cannot be written: no use in going on
  kStopped      // given up on request, in the middle
};

constexpr std::string_view kInternalError = "internal error: ";

struct RunOutcome {
  std::int64_t point = 0;
  std::int64_t seed = 0;
  RunStatus status = RunStatus::kOk;
  std::string message;  // warnings of a run that is done; what went wrong with one that is not
  std::string config;   // the resolved experiment; empty where there is none
  std::string summary;  // text of summary.json; empty unless the run is done
};

// Never throws: what goes wrong is in the outcome. May be called by several threads at once. A stop request ends it
// soon.
RunOutcome run_task(const RunTask& task, std::stop_token stop);

}  // namespace alchemist

#include "sim/sweep/sweep_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sim/base/error.h"
#include "sim/base/version.h"
#include "sim/report/output_file.h"
#include "sim/sweep/yaml_difference.h"

namespace alchemist {

namespace {

namespace fs = std::filesystem;

constexpr const char* kSchema = "1";  // of results.sqlite

std::string engine() { return fmt::format("{} {}", engine_version(), engine_git_hash()); }

}  // namespace

SweepDirectory::SweepDirectory(const fs::path& directory, const std::string& sweep, bool resume) : path_(directory) {
  std::error_code error;
  if (fs::exists(path_ / "summary.json", error)) {
    throw ConfigError(fmt::format("{}: has the results of a run; choose another --out", path_.string()));
  }
  fs::create_directories(path_, error);
  if (error) throw OutputError(fmt::format("cannot make the directory {}: {}", path_.string(), error.message()));
  try {
    lock();
    results_.emplace(path_ / "results.sqlite");
    begin_or_resume(sweep, resume);
  } catch (...) {
    if (lock_ >= 0) close(lock_);
    throw;
  }
}

SweepDirectory::~SweepDirectory() { close(lock_); }

// The lock is on a file of its own: SQLite's are on results.sqlite, and it must stay readable. It ends with the
// process, however that ends.
void SweepDirectory::lock() {
  const fs::path file = path_ / "sweep.lock";
  lock_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) throw OutputError(fmt::format("cannot write {}: {}", file.string(), std::strerror(errno)));
  if (flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  if (errno == EWOULDBLOCK)
    throw ConfigError(
        fmt::format("{}: another sweep is writing here; wait for it, or choose another --out", path_.string()));
  throw OutputError(fmt::format("cannot lock {}: {}", file.string(), std::strerror(errno)));
}

void SweepDirectory::begin_or_resume(const std::string& sweep, bool resume) {
  const std::optional<std::string> found = results_->attribute("sweep");
  if (found && !resume)
    throw ConfigError(
        fmt::format("{}: has results already; go on with --resume, or choose another --out", path_.string()));
  if (found && *found != sweep)
    throw ConfigError(
        fmt::format("{}: holds the results of another sweep, which differs from this one:\n{}"
                    "Give the sweep and the options that it began with, or choose another --out.",
                    path_.string(), yaml_difference(*found, sweep)));
  if (found && results_->attribute("engine") != engine())
    throw ConfigError(
        fmt::format("{}: its results were made by version {} of this program, which is {}; finish them "
                    "with that, or choose another --out",
                    path_.string(), results_->attribute("engine").value_or("unknown"), engine()));
  if (!found) {
    results_->set_attribute("schema", kSchema);
    results_->set_attribute("engine", engine());
    results_->set_attribute("sweep", sweep);
  }
  ResultDirectory files(path_);
  files.create("sweep.yaml").write(sweep);
  files.commit();
}

}  // namespace alchemist

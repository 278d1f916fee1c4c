// alchemist plot DIR...: figures and the report, drawn by the Python package tools/plot.
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "sim/app/cli.h"
#include "sim/app/config_paths.h"
#include "sim/base/error.h"

namespace alchemist {
namespace {

namespace fs = std::filesystem;

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result;
  for (std::string& word : words) result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

// True if the program runs and exits with 0; what it prints is thrown away.
bool succeeds(std::vector<std::string> words) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int descriptor : {STDOUT_FILENO, STDERR_FILENO})
    posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error = posix_spawn(&child, words[0].c_str(), &actions, nullptr, pointers(words).data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return false;
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// A Python that has what the figures need: the system's, where packages of the distribution are, or one on PATH.
std::string find_python() {
  std::vector<fs::path> candidates{"/usr/bin/python3"};
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (!folder.empty()) candidates.push_back(fs::path(folder) / "python3");
  }
  std::error_code ignored;
  for (const fs::path& candidate : candidates) {
    if (fs::exists(candidate, ignored) && succeeds({candidate.string(), "-c", "import matplotlib, numpy, yaml"}))
      return candidate.string();
  }
  throw ConfigError(
      "plot: needs a python3 with matplotlib, numpy and PyYAML, which neither /usr/bin nor PATH has; on Debian: "
      "apt-get "
      "install python3-matplotlib python3-yaml");
}

// The package lies beside the built-in configurations.
std::string find_package() {
  std::error_code ignored;
  const fs::path package = configs_directory().parent_path() / "tools" / "plot";
  for (const fs::path& folder : {package, fs::path(ALCHEMIST_SOURCE_DIR) / "tools" / "plot"}) {
    if (fs::exists(folder / "__main__.py", ignored)) return folder.string();
  }
  throw ConfigError(fmt::format("plot: {} is missing: the figures are drawn by the program in it", package.string()));
}

struct PlotOptions {
  std::vector<std::string> directories;
  std::string out, format, title;
};

// Python takes this process's place, so that its exit status is the command's.
[[noreturn]] void run_package(const PlotOptions& options) {
  std::vector<std::string> words{find_python(), "-B", find_package(), "--program",
                                 fs::read_symlink("/proc/self/exe").string()};
  const std::pair<const char*, const std::string&> named[] = {
      {"--out=", options.out}, {"--format=", options.format}, {"--title=", options.title}};
  for (const auto& [name, value] : named) {
    if (!value.empty()) words.push_back(name + value);
  }
  words.push_back("--");
  words.insert(words.end(), options.directories.begin(), options.directories.end());
  std::fflush(stdout);
  execv(words[0].c_str(), pointers(words).data());
  throw ConfigError(fmt::format("plot: cannot start {}: {}", words[0], std::strerror(errno)));
}

}  // namespace

void add_plot_command(CLI::App& app) {
  auto options = std::make_shared<PlotOptions>();
  CLI::App* command = app.add_subcommand("plot", "Figures and a self-contained HTML report of runs and sweeps");
  command->add_option("DIR", options->directories, "directories that run --out or sweep --out wrote")->required();
  command->add_option("--out", options->out, "where report.html and figures/ go (default: the first DIR)");
  command->add_option("--format", options->format, "of the figures: some of png,svg,pdf (default: png,svg)");
  command->add_option("--title", options->title, "of the report");
  command->callback([options] { run_package(*options); });
}

}  // namespace alchemist

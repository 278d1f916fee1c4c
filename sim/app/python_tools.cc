#include "sim/app/python_tools.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

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

}  // namespace

bool run_program(std::vector<std::string> words, Output output) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (output == Output::discarded) {
    for (const int descriptor : {STDOUT_FILENO, STDERR_FILENO})
      posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_WRONLY, 0);
  }
  std::fflush(stdout);
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

void become_program(std::vector<std::string> words) {
  std::fflush(stdout);
  execv(words[0].c_str(), pointers(words).data());
  throw ConfigError(fmt::format("cannot start {}: {}", words[0], std::strerror(errno)));
}

std::string find_python(const std::string& command, const std::string& modules) {
  std::vector<fs::path> candidates{"/usr/bin/python3"};
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (!folder.empty()) candidates.push_back(fs::path(folder) / "python3");
  }
  // Looked up, not imported, which would take half a second.
  const std::string check =
      "import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, '" + modules + "'.split(', '))))";
  std::error_code ignored;
  for (const fs::path& candidate : candidates) {
    if (fs::exists(candidate, ignored) && run_program({candidate.string(), "-c", check}, Output::discarded))
      return candidate.string();
  }
  throw ConfigError(
      fmt::format("{}: needs a python3 with {}, which neither /usr/bin nor PATH has; on Debian: apt-get install "
                  "python3-matplotlib python3-yaml",
                  command, modules));
}

fs::path find_tool(const std::string& name) {
  std::error_code ignored;
  const fs::path beside = (configs_directory() / ".." / "tools" / name).lexically_normal();
  for (const fs::path& path : {beside, fs::path(ALCHEMIST_SOURCE_DIR) / "tools" / name}) {
    if (fs::exists(path, ignored)) return path;
  }
  throw ConfigError(beside.string() + ": no such file; it draws the figures");
}

}  // namespace alchemist

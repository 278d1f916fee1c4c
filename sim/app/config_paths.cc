#include "sim/app/config_paths.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "sim/base/error.h"

namespace alchemist {

namespace fs = std::filesystem;

fs::path configs_directory() {
  std::error_code error;
  if (const char* named = std::getenv("ALCHEMIST_CONFIGS"); named != nullptr && *named != '\0') {
    if (!fs::is_directory(named, error))
      throw ConfigError("ALCHEMIST_CONFIGS=" + std::string(named) + ": expected a folder with built-in configurations");
    return named;
  }
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  // A folder of this name beside an installed program may be somebody else's: models must be in it.
  for (const fs::path& root : {error ? fs::path() : program.parent_path() / "../..", fs::path(ALCHEMIST_SOURCE_DIR)}) {
    const fs::path configs = (root / "configs").lexically_normal();
    if (fs::is_directory(configs / "models", error)) return configs;
  }
  throw ConfigError("the folder of built-in configurations was not found; set ALCHEMIST_CONFIGS to it");
}

bool names_a_path(std::string_view name) {
  return name.find('/') != std::string_view::npos || name.ends_with(".yaml") || name.ends_with(".yml") ||
         name.ends_with(".json");
}

fs::path resolve_path(const YamlValue& value) {
  return (fs::path(value.origin()).parent_path() / value.as_string()).lexically_normal();
}

fs::path resolve_config(const std::string& kind, const std::string& name, const fs::path& relative_to) {
  std::error_code error;
  if (names_a_path(name)) {
    fs::path path = (relative_to / name).lexically_normal();
    if (kind == "models" && fs::is_directory(path, error)) path /= "config.json";  // as HuggingFace lays models out
    if (fs::is_directory(path, error)) throw ConfigError::at(path.string(), 0, "is a folder, not a file");
    if (!fs::is_regular_file(path, error)) throw ConfigError::at(path.string(), 0, "no such file");
    return path;
  }
  const std::vector<std::string> names = list_configs(kind);
  if (std::find(names.begin(), names.end(), name) != names.end()) return configs_directory() / kind / (name + ".yaml");
  std::string known;
  for (const std::string& n : names) known += (known.empty() ? "" : ", ") + n;
  const std::optional<std::string> near = nearest_name(name, names);
  const char* endings = kind == "workloads" ? ".yaml, .yml, .json, .csv or .jsonl" : ".yaml, .yml or .json";
  throw ConfigError(
      "\"" + name + "\" is not among the built-in " + kind + (near ? "; did you mean \"" + *near + "\"?" : "") +
      " (built in: " + (known.empty() ? "none" : known) + "; a path has a '/' or ends with " + endings + ")");
}

fs::path resolve_named(const std::string& kind, const YamlValue& value) {
  const std::string name = value.as_string();
  try {
    return resolve_config(kind, name, fs::path(value.origin()).parent_path());
  } catch (const ConfigError& e) { value.fail(e.what()); }
}

int depth_below(const YamlValue& base, int depth) {
  if (depth == 0) base.fail("expected fewer files upon each other; does one name itself as its base?");
  return depth - 1;
}

std::vector<std::string> list_configs(const std::string& kind) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(configs_directory() / kind, error)) {
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace alchemist

// Finds configuration files: what is built in (configs/KIND/NAME.yaml) and what the user names by path.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "sim/app/yaml_reader.h"

namespace alchemist {

// Kinds are the folders of configs: models, hardware, workloads, policies, experiments, sweeps.

// The folder of the built-in configurations: $ALCHEMIST_CONFIGS if set, else the one beside the program (two folders
// above it: build/PRESET/alchemist), else that of the sources the program was built from. ConfigError if there is none.
std::filesystem::path configs_directory();

// True if `name` is meant as a path: it has a '/' or ends with .yaml, .yml or .json.
bool names_a_path(std::string_view name);

// The file that `name` stands for: a built-in of that kind, or a path, relative to `relative_to` (the folder of the
// file in which the name stands; empty for the working directory). ConfigError if it does not exist; for a built-in the
// message lists what there is and the nearest.
std::filesystem::path resolve_config(const std::string& kind, const std::string& name,
                                     const std::filesystem::path& relative_to);

// The same for a name that stands in a file, relative to the folder of that file; the message says where it stands.
std::filesystem::path resolve_named(const std::string& kind, const YamlValue& value);

// A path that stands in a file, relative to the folder of that file, normalised. It need not exist.
std::filesystem::path resolve_path(const YamlValue& value);

// Files that build upon each other by the key `base`. One that names itself would never come to an end.
constexpr int kMostBases = 8;

// What is left of `depth` for the file that `base` names. ConfigError if nothing is.
int depth_below(const YamlValue& base, int depth);

// Names of the built-ins of a kind, sorted. Empty if there are none.
std::vector<std::string> list_configs(const std::string& kind);

}  // namespace alchemist

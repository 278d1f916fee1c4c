// The kinds of built-in configuration, as the command line names them.
#pragma once

#include <string>
#include <vector>

namespace alchemist {

struct ConfigKind {
  std::string name;    // "model"
  std::string folder;  // "models", which is understood as the kind, too
};

const std::vector<ConfigKind>& config_kinds();

// ConfigError with the nearest if there is no such kind. `more`: other words that the caller takes, for the message.
const ConfigKind& find_config_kind(const std::string& name, const std::vector<std::string>& more = {});

}  // namespace alchemist

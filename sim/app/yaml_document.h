// The one YAML document of a text.
#pragma once

#include <yaml-cpp/yaml.h>

#include <string>

namespace alchemist {

// ConfigError, with `origin` as the file, if the text is not valid YAML, has nothing in it, or more than one document.
YAML::Node load_document(const std::string& text, const std::string& origin);

}  // namespace alchemist

// What the user got wrong: one message that names the place and what was expected. Exit status 1.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace alchemist {

class ConfigError : public std::runtime_error {
 public:
  explicit ConfigError(const std::string& message) : std::runtime_error(message) {}

  // "FILE:LINE: MESSAGE"; a line of 0 means the file as a whole.
  static ConfigError at(std::string_view file, int line, std::string_view message) {
    std::string text(file);
    if (line > 0) text.append(":").append(std::to_string(line));
    return ConfigError(text.append(": ").append(message));
  }
};

// Results cannot be written: no permission, a full disk. Nothing is wrong with what was to be run.
class OutputError : public ConfigError {
 public:
  using ConfigError::ConfigError;
};

}  // namespace alchemist

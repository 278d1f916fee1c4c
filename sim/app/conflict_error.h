// Keys of an experiment that are each right and together impossible.
#pragma once

#include <string>
#include <utility>

#include "sim/base/error.h"

namespace alchemist {

// Thrown where only the resolved experiment is known. Whoever has the YAML says where the key stands instead.
class ConflictError : public ConfigError {
 public:
  ConflictError(std::string key_path, const std::string& message)
      : ConfigError("key " + key_path + ": " + message), key_path_(std::move(key_path)), message_(message) {}

  const std::string& key_path() const { return key_path_; }
  const std::string& message() const { return message_; }

 private:
  std::string key_path_, message_;
};

}  // namespace alchemist

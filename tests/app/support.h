// Helpers of the application's tests.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "sim/base/error.h"

namespace alchemist {

// The message of the ConfigError that `action` throws; empty if it throws none.
inline std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const ConfigError& e) { return e.what(); }
  return "";
}

// The keys that a mapping may have, as the message for an unknown one lists them: "... (known: a, b)".
inline std::vector<std::string> known_keys(const std::string& message) {
  std::vector<std::string> keys;
  for (std::size_t begin = message.find("(known: ") + 8; message[begin - 1] != ')';) {
    const std::size_t end = message.find_first_of(",)", begin);
    if (end == std::string::npos) return {};
    keys.push_back(message.substr(begin, end - begin));
    begin = end + (message[end] == ',' ? 2 : 1);
  }
  return keys;
}

// A folder of its own that is gone with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "alchemist_test_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  // Writes a file, with the folders on the way, and returns its path.
  std::string write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
    return file.string();
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace alchemist

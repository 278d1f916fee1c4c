// A run by hand for the tests of the report.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "sim/base/observer.h"
#include "tests/times.h"

namespace alchemist {

// Arrived at `arrived`, waited `wait`, first token after `ttft`, then a token every `gap` (all milliseconds).
inline RequestOutcome outcome(std::uint32_t id, std::int64_t arrived, std::int64_t wait, std::int64_t ttft,
                              std::int64_t gap, std::int32_t output_tokens) {
  RequestOutcome o;
  o.id = RequestId(id);
  o.session = SessionId(100 + id);
  o.arrived = at_ms(arrived);
  o.queued = o.arrived;
  o.scheduled = at_ms(arrived + wait);
  o.first_token = at_ms(arrived + ttft);
  o.finished = at_ms(arrived + ttft + gap * (output_tokens - 1));
  o.prompt_tokens = 50;
  o.output_tokens = output_tokens;
  if (output_tokens > 1) o.longest_gap = Duration::milliseconds(gap);
  return o;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// An empty directory of the running test, removed at the end.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / ("alchemist_" + name + "_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace alchemist

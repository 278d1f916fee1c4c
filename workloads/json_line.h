// One line of a JSON-lines file, with errors that name file, line and key.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "sim/base/line_reader.h"

namespace alchemist {

class JsonLine {
 public:
  explicit JsonLine(const LineReader& lines);  // parses the current line; ConfigError if it is no JSON object
  JsonLine(JsonLine&&) noexcept;
  ~JsonLine();

  bool has(const std::string& key) const;
  double number(const std::string& key) const;                           // finite
  std::int32_t tokens(const std::string& key) const;                     // a whole number, 0..10^7
  std::int64_t integer(const std::string& key) const;                    // >= 0
  std::string text(const std::string& key) const;                        // a string, or a number as text
  std::vector<std::uint64_t> ids(const std::string& key) const;          // an array of whole numbers; null is empty
  std::vector<std::int32_t> token_counts(const std::string& key) const;  // an array of what tokens() takes
  std::vector<double> numbers(const std::string& key) const;             // an array of finite numbers
  std::vector<std::vector<double>> number_lists(const std::string& key) const;  // an array of such arrays
  std::vector<JsonLine> objects(const std::string& key) const;                  // an array of objects

 private:
  JsonLine(const LineReader& lines, std::unique_ptr<const nlohmann::json> json);
  const nlohmann::json& at(const std::string& key, const char* expected) const;
  const nlohmann::json& array(const std::string& key, const char* expected) const;
  const LineReader& lines_;
  std::unique_ptr<const nlohmann::json> json_;
};

}  // namespace alchemist

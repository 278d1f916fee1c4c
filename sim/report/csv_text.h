// One field of a CSV file (RFC 4180).
#pragma once

#include <string>
#include <string_view>

namespace alchemist {

// Quoted where it holds a comma, a quote or a line break, else as it is.
inline std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace alchemist

#include "sim/sweep/yaml_difference.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "sim/app/yaml_reader.h"

namespace alchemist {

namespace {

constexpr std::size_t kMostLines = 10;

void compare(const YAML::Node& there, const YAML::Node& here, const std::string& path,
             std::vector<std::string>& lines) {
  const bool both = there.IsDefined() && here.IsDefined();
  if (!both || !there.IsMap() || !here.IsMap()) {
    const std::string a = flow_text(there), b = flow_text(here);
    if (a != b) lines.push_back(fmt::format("  {}: {} there, {} here\n", path, a, b));
    return;
  }
  std::vector<std::string> keys;
  std::set<std::string> seen;
  for (const YAML::Node& map : {there, here}) {
    for (const auto& entry : map) {
      if (seen.insert(entry.first.Scalar()).second) keys.push_back(entry.first.Scalar());
    }
  }
  for (const std::string& key : keys) compare(there[key], here[key], path.empty() ? key : path + "." + key, lines);
}

}  // namespace

std::string yaml_difference(const std::string& there, const std::string& here) {
  std::vector<std::string> lines;
  try {
    compare(YAML::Load(there), YAML::Load(here), "", lines);
  } catch (const YAML::Exception&) { return "  what is there is damaged: it is not valid YAML\n"; }
  std::string text;
  for (std::size_t i = 0; i < std::min(lines.size(), kMostLines); ++i) text += lines[i];
  if (lines.size() > kMostLines) text += fmt::format("  … and {} more\n", lines.size() - kMostLines);
  return text;
}

}  // namespace alchemist

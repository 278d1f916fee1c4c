#include <algorithm>
#include <nlohmann/json.hpp>

#include "sim/base/error.h"
#include "sim/report/summary.h"

namespace alchemist {

namespace {

SummaryValue value_of(const nlohmann::json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_unsigned()) return json.get<std::uint64_t>();
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (json.is_number_float()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  return std::monostate();
}

}  // namespace

std::vector<std::string> result_keys() {
  std::vector<std::string> keys;
  for (const SummaryEntry& entry : summary_entries(Summary())) keys.push_back(entry.key);
  keys.erase(keys.begin(), std::find(keys.begin(), keys.end(), "completed"));
  return keys;
}

std::vector<SummaryValue> read_results(const std::string& summary_json) {
  const nlohmann::json json = nlohmann::json::parse(summary_json, nullptr, false);
  if (!json.is_object()) throw ConfigError("expected the text of a summary.json");
  std::vector<SummaryValue> values;
  for (const std::string& key : result_keys()) {
    const auto found = json.find(key);
    values.push_back(found == json.end() ? SummaryValue() : value_of(*found));
  }
  return values;
}

}  // namespace alchemist

#include "workloads/json_line.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "workloads/limits.h"

namespace alchemist {
namespace {

using nlohmann::json;

// Copying and writing out a tree recurse into it, so a hostile depth would exhaust the stack.
bool nests_too_deeply(std::string_view text) {
  constexpr int kMaxDepth = 100;
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') {
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '[' || c == '{')) {
      if (++depth > kMaxDepth) return true;
    } else if (!quoted && (c == ']' || c == '}')) {
      --depth;
    }
  }
  return false;
}

bool is_finite_number(const json& value) { return value.is_number() && std::isfinite(value.get<double>()); }

std::optional<std::int32_t> tokens_of(const json& value) {
  const double number = value.is_number() ? value.get<double>() : -1.0;
  if (!(number >= 0 && number <= double(kMaxTokens)) || number != std::floor(number)) return std::nullopt;
  return static_cast<std::int32_t>(number);
}

[[noreturn]] void fail_key(const LineReader& lines, const std::string& key, const char* expected, const json& got) {
  std::string text = got.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  lines.fail("key \"" + key + "\": expected " + expected + ", got " + text);
}

}  // namespace

JsonLine::JsonLine(const LineReader& lines) : lines_(lines) {
  if (nests_too_deeply(lines.text())) lines.fail("expected a JSON object that nests at most 100 levels");
  std::set<std::string> keys;
  std::string twice;
  const auto note_keys = [&](int depth, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::key && depth == 1 && !keys.insert(value.get<std::string>()).second)
      twice = value.get<std::string>();
    return true;
  };
  json parsed = json::parse(lines.text(), note_keys, false);
  if (!twice.empty()) lines.fail("has the key \"" + twice + "\" twice");
  if (!parsed.is_object()) lines.fail("expected a JSON object on one line, such as {\"timestamp\": 0, ...}");
  json_ = std::make_unique<const json>(std::move(parsed));
}

JsonLine::JsonLine(const LineReader& lines, std::unique_ptr<const json> value)
    : lines_(lines), json_(std::move(value)) {}
JsonLine::JsonLine(JsonLine&&) noexcept = default;
JsonLine::~JsonLine() = default;

bool JsonLine::has(const std::string& key) const { return json_->contains(key); }

const json& JsonLine::at(const std::string& key, const char* expected) const {
  const auto found = json_->find(key);
  if (found == json_->end()) lines_.fail("expected a key \"" + key + "\" with " + expected);
  return *found;
}

double JsonLine::number(const std::string& key) const {
  const json& value = at(key, "a number");
  if (!is_finite_number(value)) fail_key(lines_, key, "a number", value);
  return value.get<double>();
}

std::int32_t JsonLine::tokens(const std::string& key) const {
  constexpr const char* kExpected = "a whole number of tokens from 0 to 10000000";
  const json& value = at(key, kExpected);
  const std::optional<std::int32_t> tokens = tokens_of(value);
  if (!tokens) fail_key(lines_, key, kExpected, value);
  return *tokens;
}

std::int64_t JsonLine::integer(const std::string& key) const {
  constexpr const char* kExpected = "a whole number, 0 or more, below 2^62";
  const json& value = at(key, kExpected);
  const double number = value.is_number() ? value.get<double>() : -1.0;
  if (!(number >= 0 && number < 4e18) || number != std::floor(number)) fail_key(lines_, key, kExpected, value);
  return value.is_number_float() ? static_cast<std::int64_t>(number) : value.get<std::int64_t>();
}

std::string JsonLine::text(const std::string& key) const {
  const json& value = at(key, "a text or a number");
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return value.dump();
  fail_key(lines_, key, "a text or a number", value);
}

std::vector<std::uint64_t> JsonLine::ids(const std::string& key) const {
  constexpr const char* kExpected = "an array of whole numbers";
  const json& value = at(key, kExpected);
  std::vector<std::uint64_t> result;
  if (value.is_null()) return result;
  if (!value.is_array()) fail_key(lines_, key, kExpected, value);
  result.reserve(value.size());
  for (const json& element : value) {
    if (!element.is_number_integer()) fail_key(lines_, key, kExpected, value);
    result.push_back(element.is_number_unsigned() ? element.get<std::uint64_t>()
                                                  : static_cast<std::uint64_t>(element.get<std::int64_t>()));
  }
  return result;
}

const json& JsonLine::array(const std::string& key, const char* expected) const {
  const json& value = at(key, expected);
  if (!value.is_array()) fail_key(lines_, key, expected, value);
  return value;
}

std::vector<std::int32_t> JsonLine::token_counts(const std::string& key) const {
  constexpr const char* kExpected = "an array of whole numbers of tokens from 0 to 10000000";
  std::vector<std::int32_t> result;
  for (const json& element : array(key, kExpected)) {
    const std::optional<std::int32_t> tokens = tokens_of(element);
    if (!tokens) fail_key(lines_, key, kExpected, element);
    result.push_back(*tokens);
  }
  return result;
}

std::vector<double> JsonLine::numbers(const std::string& key) const {
  constexpr const char* kExpected = "an array of numbers";
  std::vector<double> result;
  for (const json& element : array(key, kExpected)) {
    if (!is_finite_number(element)) fail_key(lines_, key, kExpected, element);
    result.push_back(element.get<double>());
  }
  return result;
}

std::vector<std::vector<double>> JsonLine::number_lists(const std::string& key) const {
  constexpr const char* kExpected = "an array of arrays of numbers";
  std::vector<std::vector<double>> result;
  for (const json& list : array(key, kExpected)) {
    if (!list.is_array()) fail_key(lines_, key, kExpected, list);
    std::vector<double>& numbers = result.emplace_back();
    for (const json& element : list) {
      if (!is_finite_number(element)) fail_key(lines_, key, kExpected, element);
      numbers.push_back(element.get<double>());
    }
  }
  return result;
}

std::vector<JsonLine> JsonLine::objects(const std::string& key) const {
  constexpr const char* kExpected = "an array of objects";
  const json& value = array(key, kExpected);
  std::vector<JsonLine> result;
  for (const json& element : value) {
    if (!element.is_object()) fail_key(lines_, key, kExpected, value);
    result.push_back(JsonLine(lines_, std::make_unique<const json>(element)));
  }
  return result;
}

}  // namespace alchemist

#include "sim/app/yaml_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <ranges>
#include <sstream>

#include "sim/app/yaml_document.h"
#include "sim/base/control_characters.h"
#include "sim/base/error.h"
#include "sim/base/longest_run.h"

namespace alchemist {

namespace {

constexpr int kMaxDepth = 100;                 // of nesting; an alias to its own parent would nest for ever
constexpr std::int64_t kMaxNodes = 1'000'000;  // aliases of aliases can stand for exponentially many

std::string join_key(const std::string& parent, const std::string& key) {
  return parent.empty() ? key : parent + "." + key;
}

std::string quote(std::string_view text) { return "\"" + std::string(text) + "\""; }

// A message is one line, whatever the text that it quotes.
std::string one_line(std::string text) {
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2) text.replace(at, 1, "\\n");
  return text;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// What stands in a node, for "got ...".
std::string describe(const YAML::Node& node) {
  if (node.IsScalar()) return node.Scalar().empty() ? "an empty text" : quote(node.Scalar());
  if (node.IsMap()) return "a mapping";
  if (node.IsSequence()) return "a list";
  return "nothing";
}

int line_of(const YAML::Node& node) { return std::max(0, node.Mark().line + 1); }

// Every key of every mapping is a word and occurs once. yaml-cpp itself keeps duplicates silently.
void check_keys(const YAML::Node& node, const std::string& origin, const std::string& key_path, int depth,
                std::int64_t& visited) {
  if (depth > kMaxDepth || ++visited > kMaxNodes)
    throw ConfigError::at(origin, line_of(node), "nested too deeply (is an alias used inside its own anchor?)");
  if (node.IsSequence()) {
    for (const auto& child : node) check_keys(child, origin, key_path, depth + 1, visited);
  } else if (node.IsMap()) {
    std::set<std::string> seen;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar())
        throw ConfigError::at(origin, line_of(entry.first), "expected a word as a key, got " + describe(entry.first));
      const std::string path = join_key(key_path, entry.first.Scalar());
      if (!seen.insert(entry.first.Scalar()).second)
        throw ConfigError::at(origin, line_of(entry.first), one_line("key " + path + ": given twice"));
      check_keys(entry.second, origin, path, depth + 1, visited);
    }
  }
}

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr Unit kByteUnits[] = {{"B", 1},           {"kB", 1'000},         {"KB", 1'000},
                               {"MB", 1'000'000},  {"GB", 1'000'000'000}, {"TB", 1'000'000'000'000},
                               {"KiB", 1LL << 10}, {"MiB", 1LL << 20},    {"GiB", 1LL << 30},
                               {"TiB", 1LL << 40}};
constexpr Unit kTimeUnits[] = {{"ns", 1},
                               {"us", 1'000},
                               {"ms", 1'000'000},
                               {"s", 1'000'000'000},
                               {"min", 60'000'000'000},
                               {"h", 3'600'000'000'000}};
constexpr Unit kRateUnits[] = {{"B/s", 1},           {"kB/s", 1'000},         {"KB/s", 1'000},
                               {"MB/s", 1'000'000},  {"GB/s", 1'000'000'000}, {"TB/s", 1'000'000'000'000},
                               {"KiB/s", 1LL << 10}, {"MiB/s", 1LL << 20},    {"GiB/s", 1LL << 30},
                               {"TiB/s", 1LL << 40}};
constexpr Unit kFlopUnits[] = {
    {"FLOP/s", 1}, {"GFLOP/s", 1'000'000'000}, {"TFLOP/s", 1'000'000'000'000}, {"PFLOP/s", 1'000'000'000'000'000}};

struct Quantity {
  double number = 0;
  std::int64_t factor = 1;
  std::optional<std::int64_t> whole;  // the number, where it is written without a fraction
};

// Splits "2.5 ms" into number and unit. `what` says what was expected, with an example.
Quantity parse_quantity(const YamlValue& value, std::span<const Unit> units, const std::string& what) {
  std::string names;
  for (const Unit& unit : units) names += (names.empty() ? "" : " ") + std::string(unit.name);
  const std::string expected = value.expected(what) + " (units: " + names + ")";
  if (!value.is_scalar()) value.fail(expected + ", got " + describe(value.node()));
  const std::string& text = value.node().Scalar();
  const char* const end = text.data() + text.size();
  Quantity result;
  const auto [rest, error] = std::from_chars(text.data(), end, result.number);
  if (error != std::errc() || !std::isfinite(result.number)) value.fail(expected + ", got " + describe(value.node()));
  std::string_view unit_text(rest, static_cast<std::size_t>(end - rest));
  while (!unit_text.empty() && unit_text.front() == ' ') unit_text.remove_prefix(1);
  while (!unit_text.empty() && unit_text.back() == ' ') unit_text.remove_suffix(1);
  if (unit_text.empty()) value.fail(expected + ", got " + quote(text) + " without a unit");
  const auto unit = std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == unit_text; });
  if (unit == units.end()) value.fail(expected + ", got " + quote(text) + " with an unknown unit");
  if (result.number < 0) value.fail(expected + ", not negative, got " + quote(text));
  result.factor = unit->factor;
  std::int64_t whole = 0;
  const auto [whole_end, whole_error] = std::from_chars(text.data(), rest, whole);
  if (whole_error == std::errc() && whole_end == rest) result.whole = whole;
  return result;
}

// number * factor as an integer: exact where the number is whole, else to the nearest.
std::int64_t integer_amount(const YamlValue& value, const Quantity& quantity) {
  if (quantity.whole) {
    std::int64_t product = 0;
    if (__builtin_mul_overflow(*quantity.whole, quantity.factor, &product)) value.fail("too large");
    return product;
  }
  const double product = quantity.number * static_cast<double>(quantity.factor);
  if (product >= 9.2e18) value.fail("too large");
  return std::llround(product);
}

// number * factor; "1e300 TB/s" would be infinite.
double finite_amount(const YamlValue& value, const Quantity& quantity) {
  const double product = quantity.number * static_cast<double>(quantity.factor);
  if (!std::isfinite(product)) value.fail("too large");
  return product;
}

// True for "", "null", "~".
bool is_nothing(const std::string& yaml) {
  try {
    return YAML::Load(yaml).IsNull();
  } catch (const YAML::Exception&) { return false; }
}

std::string read_text(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw ConfigError::at(path, 0, "no such file");
  if (std::filesystem::is_directory(path, error)) throw ConfigError::at(path, 0, "is a folder, not a file");
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in || in.bad()) throw ConfigError::at(path, 0, "cannot be read or is empty");
  return text.str();
}

// Optimal string alignment: insertions, deletions, substitutions, swaps of neighbours.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

YamlValue YamlValue::load(const std::string& path) { return parse(read_text(path), path); }

YamlValue YamlValue::parse(const std::string& text, const std::string& origin) {
  const YAML::Node document = load_document(text, origin);
  std::int64_t visited = 0;
  check_keys(document, origin, "", 0, visited);
  return YamlValue(document, origin, "");
}

YamlValue::YamlValue(YAML::Node node, std::string origin, std::string key_path)
    : node_(std::move(node)),
      line_(line_of(node_)),
      source_(std::make_shared<const YamlSource>(YamlSource{std::move(origin), {}})),
      key_path_(std::move(key_path)) {}

YamlValue YamlValue::child(const YAML::Node& node, const YAML::Node& key, std::string key_path) const {
  YamlValue value = *this;
  value.node_.reset(node);
  value.line_ = line_of(node.IsNull() ? key : node);  // yaml-cpp puts an empty value on the line after its key
  value.key_path_ = std::move(key_path);
  return value;
}

YamlValue YamlValue::with_overrides(const std::vector<YamlOverride>& overrides,
                                    const std::set<std::string>& named) const {
  YamlValue result = *this;
  result.source_ = std::make_shared<const YamlSource>(YamlSource{source_->origin, overrides});
  for (const YamlOverride& o : overrides) {
    if (o.key_path.ends_with('.')) throw ConfigError::at(o.label, 0, "expected KEY.PATH=VALUE");
    YAML::Node place = node_;
    std::istringstream words(o.key_path);
    std::string word, path;
    while (std::getline(words, word, '.')) {
      if (word.empty()) throw ConfigError::at(o.label, 0, "expected KEY.PATH=VALUE");
      if (place.IsScalar() && named.contains(path)) {
        const std::string name = place.Scalar();
        place = YAML::Node(YAML::NodeType::Map);
        place["base"] = name;
      }
      if (place.IsDefined() && !place.IsNull() && !place.IsMap())
        throw ConfigError::at(o.label, 0, "key " + path + ": holds " + describe(place) + ", not a mapping");
      path = join_key(path, word);
      place.reset(place[word]);
    }
    if (is_nothing(o.text)) throw ConfigError::at(o.label, 0, "key " + path + ": expected a value, got nothing");
    place = parse(o.text, o.label).node();
  }
  return result;
}

const std::string& YamlValue::origin() const {
  const YamlOverride* around = override_around();
  return around != nullptr ? around->origin : source_->origin;
}

bool YamlValue::is(std::string_view word) {
  if (node_.IsScalar() && node_.Scalar() == word) return true;
  expected_ = "expected " + std::string(word) + " or ";
  return false;
}

std::string YamlValue::as_string() const {
  if (!node_.IsScalar() || node_.Scalar().empty()) fail("expected a text, got " + describe(node_));
  return node_.Scalar();
}

std::string YamlValue::as_name() const {
  const std::string text = as_string();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (control_character(text, i) > 0) fail("expected a name without control characters, got " + quote(text));
  }
  return text;
}

bool YamlValue::as_bool() const {
  if (node_.IsScalar() && node_.Scalar() == "true") return true;
  if (node_.IsScalar() && node_.Scalar() == "false") return false;
  fail(expected("true or false") + ", got " + describe(node_));
}

std::int64_t YamlValue::as_int(std::int64_t min, std::int64_t max) const {
  std::string wanted = expected("a whole number");
  if (max == std::numeric_limits<std::int64_t>::max()) {
    if (min != std::numeric_limits<std::int64_t>::min()) wanted += " of at least " + std::to_string(min);
  } else {
    wanted += " from " + std::to_string(min) + " to " + std::to_string(max);
  }
  if (!node_.IsScalar()) fail(wanted + ", got " + describe(node_));
  const std::string& text = node_.Scalar();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < min || number > max)
    fail(wanted + ", got " + describe(node_));
  return number;
}

double YamlValue::as_number(double min, double max) const {
  std::ostringstream expected;
  expected << "expected a number";
  const bool bounded_below = std::isfinite(min) && min > std::numeric_limits<double>::lowest();
  const bool bounded_above = std::isfinite(max) && max < std::numeric_limits<double>::max();
  if (bounded_below && bounded_above) {
    expected << " from " << min << " to " << max;
  } else if (bounded_below) {
    expected << " of at least " << min;
  } else if (bounded_above) {
    expected << " of at most " << max;
  }
  if (!node_.IsScalar()) fail(expected.str() + ", got " + describe(node_));
  const std::string& text = node_.Scalar();
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number) || number < min ||
      number > max)
    fail(expected.str() + ", got " + describe(node_));
  return number;
}

Bytes YamlValue::as_bytes() const {
  return Bytes(integer_amount(*this, parse_quantity(*this, kByteUnits, "an amount of memory such as \"80 GiB\"")));
}

Duration YamlValue::as_duration() const {
  const Duration duration = Duration::nanoseconds(
      integer_amount(*this, parse_quantity(*this, kTimeUnits, "a length of time such as \"2.5 ms\"")));
  if (duration > kLongestSetting) fail("expected at most a year (8760 h), got " + quote(node_.Scalar()));
  return duration;
}

double YamlValue::as_rate() const {
  return finite_amount(*this, parse_quantity(*this, kRateUnits, "a bandwidth such as \"25 GB/s\""));
}

double YamlValue::as_flops() const {
  return finite_amount(*this, parse_quantity(*this, kFlopUnits, "a speed such as \"989 TFLOP/s\""));
}

std::vector<YamlValue> YamlValue::as_list() const {
  if (!node_.IsSequence()) fail("expected a list, got " + describe(node_));
  std::vector<YamlValue> values;
  for (const auto& element : node_)
    values.push_back(child(element, element, key_path_ + "[" + std::to_string(values.size()) + "]"));
  return values;
}

const YamlOverride* YamlValue::override_around() const {
  // The last one is what the value is made of: later ones replace what earlier ones set.
  for (const YamlOverride& o : std::views::reverse(source_->overrides)) {
    const bool inside = key_path_.starts_with(o.key_path) &&
                        (key_path_.size() == o.key_path.size() || key_path_[o.key_path.size()] == '.' ||
                         key_path_[o.key_path.size()] == '[');
    if (inside) return &o;
  }
  return nullptr;
}

std::vector<std::string> YamlValue::labels_below() const {
  std::vector<std::string> labels;
  for (const YamlOverride& o : source_->overrides) {
    if (!key_path_.empty() && o.key_path.starts_with(key_path_ + ".")) labels.push_back(o.label);
  }
  return labels;
}

void YamlValue::fail(std::string_view message) const {
  const std::string text = (key_path_.empty() ? "" : "key " + key_path_ + ": ") + std::string(message);
  const std::string below = join(labels_below());
  // A mapping that stands in no file was made for what is below it.
  const YamlOverride* around = override_around();
  if (around == nullptr && line_ == 0 && !below.empty()) throw ConfigError::at(one_line(below), 0, one_line(text));
  const std::string changed = one_line(text + (below.empty() ? "" : " (with " + below + ")"));
  if (around != nullptr) throw ConfigError::at(one_line(around->label), 0, changed);
  throw ConfigError::at(source_->origin, line_, changed);
}

void YamlValue::fail_together(std::string_view message) const {
  std::vector<std::string> labels;
  for (const YamlOverride& o : source_->overrides) {
    if (o.label.starts_with("--") && o.key_path != "seed") labels.push_back(o.label);
  }
  if (override_around() != nullptr || labels.empty() || !labels_below().empty()) fail(message);
  fail(std::string(message) + " (with " + join(labels) + ")");
}

YamlMap::YamlMap(const YamlValue& value) : value_(value) {
  if (!value.is_map()) value.fail("expected a mapping of keys to values, got " + describe(value.node()));
}

YamlValue YamlMap::required(const std::string& key) {
  if (std::optional<YamlValue> found = optional(key)) return *found;
  value_.child(value_.node(), value_.node(), join_key(value_.key_path(), key)).fail("missing, but required here");
}

std::optional<YamlValue> YamlMap::optional(const std::string& key) {
  asked_.insert(key);
  for (const auto& entry : value_.node()) {
    if (entry.first.Scalar() == key) return value_.child(entry.second, entry.first, join_key(value_.key_path(), key));
  }
  return std::nullopt;
}

std::vector<std::string> YamlMap::keys() const {
  std::vector<std::string> names;
  for (const auto& entry : value_.node()) names.push_back(entry.first.Scalar());
  return names;
}

std::string YamlMap::single_key(const std::vector<std::string>& choices) {
  const std::vector<std::string> present = keys();
  if (present.size() != 1)
    value_.fail("expected exactly one of " + join(choices) + ", got " + (present.empty() ? "none" : join(present)));
  if (std::find(choices.begin(), choices.end(), present[0]) == choices.end()) {
    const std::optional<std::string> near = nearest_name(present[0], choices);
    value_.fail("expected one of " + join(choices) + ", got " + quote(present[0]) +
                (near ? "; did you mean " + quote(*near) + "?" : ""));
  }
  asked_.insert(present[0]);
  return present[0];
}

void YamlMap::finish() const {
  for (const auto& entry : value_.node()) {
    const std::string& key = entry.first.Scalar();
    if (asked_.contains(key)) continue;
    const std::vector<std::string> known(asked_.begin(), asked_.end());
    const std::optional<std::string> near = nearest_name(key, known);
    value_.child(entry.first, entry.first, join_key(value_.key_path(), key))
        .fail("unknown key" + (near ? "; did you mean " + quote(*near) + "?" : "") + " (known: " + join(known) + ")");
  }
}

std::string flow_text(const YAML::Node& node) {
  if (!node.IsDefined()) return "nothing";
  YAML::Emitter out;
  out.SetMapFormat(YAML::Flow);
  out.SetSeqFormat(YAML::Flow);
  out << node;
  return out.c_str();
}

std::optional<std::string> nearest_name(const std::string& text, const std::vector<std::string>& choices) {
  std::optional<std::string> best;
  std::size_t best_distance = std::min(std::max<std::size_t>(1, text.size() / 3) + 1, text.size());
  for (const std::string& choice : choices) {
    const std::size_t distance = edit_distance(text, choice);
    if (distance < best_distance) best = choice, best_distance = distance;
  }
  return best;
}

}  // namespace alchemist

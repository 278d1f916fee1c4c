#include "sim/base/line_reader.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <utility>

#include "sim/base/error.h"

namespace alchemist {
namespace {

constexpr double kMaxTokens = 1e7;

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::optional<double> parse_number(const std::string& text) {
  double value = 0;
  const char* begin = text.data() + (text.starts_with('+') && !text.starts_with("+-") ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// The fields of a record of CSV: commas separate, double quotes around a field group ("" within them is one quote),
// spaces around are dropped. A quote within a field that has none around it stands for itself.
class CsvFields {
 public:
  void add(std::string_view line) {
    if (quoted_) fields_.back() += '\n';  // the field goes on
    for (std::size_t i = 0; i < line.size(); ++i) {
      const char c = line[i];
      std::string& field = fields_.back();
      if (c == '"' && quoted_ && i + 1 < line.size() && line[i + 1] == '"') {
        field += line[++i];
      } else if (c == '"' && (quoted_ || trim(field).empty())) {
        quoted_ = !quoted_;
      } else if (c == ',' && !quoted_) {
        fields_.emplace_back();
      } else {
        field += c;
      }
    }
  }
  bool is_open() const { return quoted_; }
  std::vector<std::string> take() {
    for (std::string& field : fields_) field = std::string(trim(field));
    return std::move(fields_);
  }

 private:
  std::vector<std::string> fields_{1};
  bool quoted_ = false;
};

}  // namespace

LineReader::LineReader(const std::string& path) : path_(path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw ConfigError::at(path, 0, "no such file");
  if (std::filesystem::is_directory(path, error)) throw ConfigError::at(path, 0, "expected a file, got a folder");
  file_.open(path, std::ios::binary);
  if (!file_) throw ConfigError::at(path, 0, "cannot be opened for reading");
}

bool LineReader::next() {
  while (next_of_any_kind()) {
    if (!trim(text_).empty()) return true;
  }
  return false;
}

bool LineReader::next_of_any_kind() {
  if (!std::getline(file_, text_)) return false;
  ++line_;
  if (line_ == 1 && text_.starts_with("\xef\xbb\xbf")) text_.erase(0, 3);
  return true;
}

void LineReader::fail(std::string_view message) const { throw ConfigError::at(path_, line_, message); }

CsvReader::CsvReader(const std::string& path) : lines_(path) {
  if (!read_record()) throw ConfigError::at(path, 0, "is empty: expected a header line with the names of the columns");
  header_ = fields_;
  for (auto name = header_.begin(); name != header_.end(); ++name) {
    const auto same = [&](const std::string& other) { return !name->empty() && same_word(*name, other); };
    if (std::any_of(header_.begin(), name, same)) fail("names the column \"" + *name + "\" twice");
  }
}

std::optional<std::size_t> CsvReader::find_column(std::initializer_list<std::string_view> names) const {
  for (std::string_view name : names) {
    for (std::size_t i = 0; i < header_.size(); ++i) {
      if (same_word(header_[i], name)) return i;
    }
  }
  return std::nullopt;
}

std::size_t CsvReader::column(std::initializer_list<std::string_view> names) const {
  if (const auto found = find_column(names)) return *found;
  fail("expected a column \"" + std::string(*names.begin()) + "\" in the header");
}

bool CsvReader::next() {
  if (!read_record()) return false;
  if (fields_.size() != header_.size()) {
    fail("expected " + std::to_string(header_.size()) + " fields as in the header, got " +
         std::to_string(fields_.size()));
  }
  return true;
}

// A quoted field may hold line breaks.
bool CsvReader::read_record() {
  if (!lines_.next()) return false;
  record_line_ = lines_.line();
  CsvFields fields;
  fields.add(lines_.text());
  while (fields.is_open()) {
    if (!lines_.next_of_any_kind()) fail("expected a quote (\") at the end of the field that begins with one");
    fields.add(lines_.text());
  }
  fields_ = fields.take();
  return true;
}

void CsvReader::fail(std::string_view message) const { throw ConfigError::at(lines_.path(), record_line_, message); }

void CsvReader::fail_field(std::size_t column, std::string_view expected) const {
  fail("column \"" + header_[column] + "\": expected " + std::string(expected) + ", got \"" + fields_[column] + "\"");
}

std::int32_t CsvReader::tokens(std::size_t column) const {
  const auto value = parse_number(fields_[column]);
  if (!value || *value < 0 || *value > kMaxTokens || *value != std::floor(*value)) {
    fail_field(column, "a whole number of tokens from 0 to 10000000");
  }
  return static_cast<std::int32_t>(*value);
}

double CsvReader::number(std::size_t column) const {
  const auto value = parse_number(fields_[column]);
  if (!value) fail_field(column, "a number");
  return *value;
}

}  // namespace alchemist

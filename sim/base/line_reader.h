// Reads text files line by line and CSV with a header, with errors that name file and line.
#pragma once

#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace alchemist {

class LineReader {
 public:
  explicit LineReader(const std::string& path);  // ConfigError if it cannot be read
  bool next();                                   // the next line that is not blank; false at the end
  bool next_of_any_kind();                       // the next line
  const std::string& text() const { return text_; }
  int line() const { return line_; }  // 1-based
  const std::string& path() const { return path_; }
  [[noreturn]] void fail(std::string_view message) const;  // ConfigError at this line

 private:
  std::string path_;
  std::ifstream file_;
  std::string text_;
  int line_ = 0;
};

// Commas separate fields, double quotes around one group ("" within them is one quote) and may hold line breaks.
class CsvReader {
 public:
  explicit CsvReader(const std::string& path);  // reads the header; ConfigError for an empty file

  // The index of the first of `names` that is a column (case does not matter); none if there is none of them.
  std::optional<std::size_t> find_column(std::initializer_list<std::string_view> names) const;
  // The same; ConfigError if there is none. The first name is the one that the message asks for.
  std::size_t column(std::initializer_list<std::string_view> names) const;

  bool next();  // the next record; ConfigError if it has another number of fields than the header
  const std::string& field(std::size_t column) const { return fields_[column]; }
  int line() const { return record_line_; }                // on which the record begins
  std::int32_t tokens(std::size_t column) const;           // a whole number, 0..10^7, also written as 12.0
  double number(std::size_t column) const;                 // finite
  [[noreturn]] void fail(std::string_view message) const;  // ConfigError at the line on which the record begins
  [[noreturn]] void fail_field(std::size_t column, std::string_view expected) const;  // the same, of a field

 private:
  bool read_record();
  LineReader lines_;
  int record_line_ = 0;
  std::vector<std::string> header_;
  std::vector<std::string> fields_;
};

}  // namespace alchemist

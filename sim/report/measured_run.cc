#include "sim/report/measured_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <optional>
#include <string_view>

#include "sim/base/error.h"

namespace alchemist {
namespace {

enum Column { kRequest, kInput, kOutput, kQueued, kScheduled, kFirst, kLast, kColumns };
constexpr std::array<std::string_view, kColumns> kNames{"request",     "input_length",  "output_length", "queued_s",
                                                        "scheduled_s", "first_token_s", "last_token_s"};

std::vector<std::string_view> split(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  std::vector<std::string_view> fields;
  for (;;) {
    const std::size_t comma = line.find(',');
    fields.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return fields;
    line.remove_prefix(comma + 1);
  }
}

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), in_(path) {
    if (!in_) fail("cannot be read");
    if (!next_line()) fail("is empty; expected a header with the columns of a measured run");
    const auto header = split(line_);
    for (int c = 0; c < kColumns; ++c) {
      const auto it = std::find(header.begin(), header.end(), kNames[c]);
      if (it == header.end()) fail(fmt::format("expected a column {}", kNames[c]));
      position_[c] = static_cast<std::size_t>(it - header.begin());
    }
    width_ = header.size();
  }

  // The next request, or none at the end of the file.
  std::optional<RequestTimes> next() {
    do {
      if (!next_line()) return std::nullopt;
    } while (line_.empty() || line_ == "\r");
    fields_ = split(line_);
    if (fields_.size() != width_) fail(fmt::format("expected {} fields, got {}", width_, fields_.size()));
    RequestTimes r{whole(kRequest, 0), whole(kInput, 1), whole(kOutput, 1), number(kQueued),
                   number(kScheduled), number(kFirst),   number(kLast)};
    if (r.arrived_s > r.scheduled_s || r.scheduled_s > r.first_token_s || r.first_token_s > r.last_token_s) {
      fail("expected queued_s <= scheduled_s <= first_token_s <= last_token_s");
    }
    return r;
  }

  [[noreturn]] void fail(std::string_view message) const { throw ConfigError::at(path_, line_number_, message); }

 private:
  bool next_line() {
    if (!std::getline(in_, line_)) return false;
    ++line_number_;
    return true;
  }
  std::int64_t whole(Column c, std::int64_t min) const {
    const std::string_view text = fields_[position_[c]];
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < min) {
      fail(fmt::format("column {}: expected a whole number of at least {}, got '{}'", kNames[c], min, text));
    }
    return value;
  }
  double number(Column c) const {
    const std::string_view text = fields_[position_[c]];
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
      fail(fmt::format("column {}: expected seconds, got '{}'", kNames[c], text));
    }
    return value;
  }

  std::string path_;
  std::ifstream in_;
  std::string line_;
  std::vector<std::string_view> fields_;  // of line_
  int line_number_ = 0;
  std::array<std::size_t, kColumns> position_{};
  std::size_t width_ = 0;
};

}  // namespace

std::vector<RequestTimes> read_measured_requests(const std::string& path) {
  Reader reader(path);
  std::vector<RequestTimes> requests;
  while (auto r = reader.next()) requests.push_back(*r);
  if (requests.empty()) throw ConfigError::at(path, 0, "holds no request");
  std::sort(requests.begin(), requests.end(),
            [](const RequestTimes& a, const RequestTimes& b) { return a.request < b.request; });
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::int64_t expected = static_cast<std::int64_t>(i);
    if (requests[i].request == expected) continue;
    const bool twice = requests[i].request < expected;
    throw ConfigError::at(
        path, 0,
        fmt::format("request {} is {}; expected the requests 0..{}, each once", twice ? requests[i].request : expected,
                    twice ? "there twice" : "missing", requests.size() - 1));
  }
  return requests;
}

void arrive_as_scheduled(std::vector<RequestTimes>& measured, std::span<const double> scheduled_arrivals_s) {
  if (measured.size() != scheduled_arrivals_s.size()) {
    throw ConfigError(
        fmt::format("the measured run has {} requests, the workload {}", measured.size(), scheduled_arrivals_s.size()));
  }
  if (measured.empty()) return;
  double offset = measured[0].arrived_s - scheduled_arrivals_s[0];
  for (std::size_t i = 1; i < measured.size(); ++i) {
    offset = std::min(offset, measured[i].arrived_s - scheduled_arrivals_s[i]);
  }
  for (std::size_t i = 0; i < measured.size(); ++i) measured[i].arrived_s = scheduled_arrivals_s[i] + offset;
}

}  // namespace alchemist

#include "sim/app/option_checks.h"

#include <fmt/format.h>

#include <charconv>
#include <string>
#include <system_error>

namespace alchemist {

namespace {

template <class Number>
CLI::Validator between(const char* kind, Number least, Number most) {
  const bool bounded = most < std::numeric_limits<Number>::max();
  const std::string range = bounded ? fmt::format("{} to {}", least, most) : fmt::format("at least {}", least);
  const std::string expected = fmt::format("expected {} {} {}", kind, bounded ? "from" : "of", range);
  const auto check = [=](const std::string& text) -> std::string {
    Number value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool read = error == std::errc() && end == text.data() + text.size();
    return read && value >= least && value <= most ? "" : fmt::format("{}, got \"{}\"", expected, text);
  };
  return CLI::Validator(check, range);
}

}  // namespace

CLI::Validator whole_number(std::int64_t least, std::int64_t most) { return between("a whole number", least, most); }

CLI::Validator number(double least, double most) { return between("a number", least, most); }

}  // namespace alchemist

// Always-on checks of the program's own invariants. A failed check is our bug, never the user's (that is ConfigError).
#pragma once

#include <source_location>
#include <stdexcept>
#include <string_view>

namespace alchemist {

// Thrown by a failed check(); the command line turns it into exit status 2.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void fail_check(std::string_view what, std::source_location where);

inline void check(bool holds, std::string_view what, std::source_location where = std::source_location::current()) {
  if (!holds) [[unlikely]]
    fail_check(what, where);
}

}  // namespace alchemist

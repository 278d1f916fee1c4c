// Bytes as people read them.
#pragma once

#include <fmt/format.h>

#include <string>

#include "sim/base/bytes.h"

namespace alchemist {

// "79.6 GiB".
inline std::string gib(Bytes bytes, int decimals = 1) {
  return fmt::format("{:.{}f} GiB", bytes.as_double() / (1LL << 30), decimals);
}

}  // namespace alchemist

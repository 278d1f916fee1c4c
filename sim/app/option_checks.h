// What the numbers of a command line may be. CLI11's own Range lets NaN pass and cuts a whole number that is too large
// to the largest one that fits.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>

namespace alchemist {

// For option->check(): the text is a whole number of digits from `least` to `most`.
CLI::Validator whole_number(std::int64_t least, std::int64_t most = std::numeric_limits<std::int64_t>::max());

// The same for a number that may have a fraction or an exponent; infinity and NaN are none.
CLI::Validator number(double least, double most);

}  // namespace alchemist

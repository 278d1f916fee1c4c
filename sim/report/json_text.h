// JSON text of single values. Documents are small or streamed, so they are written directly.
#pragma once

#include <string>
#include <string_view>

#include "sim/report/summary.h"

namespace alchemist {

std::string json_string(std::string_view text);  // quoted and escaped; UTF-8 is left as it is
// The shortest decimal that reads back as the same double; null for what is not finite.
std::string json_number(double value);
std::string json_value(const SummaryValue& value);

}  // namespace alchemist

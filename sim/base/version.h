// Which program made a result.
#pragma once

#include <string_view>

namespace alchemist {

std::string_view engine_version();   // "0.1.0"
std::string_view engine_git_hash();  // 12 digits, "-dirty" where files differed from it; "unknown" outside a repository

}  // namespace alchemist

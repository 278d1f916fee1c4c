#include "sim/base/check.h"

#include <string>

namespace alchemist {

void fail_check(std::string_view what, std::source_location where) {
  throw InternalError("check failed: " + std::string(what) + " (" + where.file_name() + ":" +
                      std::to_string(where.line()) + ", " + where.function_name() + ")");
}

}  // namespace alchemist

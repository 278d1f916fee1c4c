// What differs between two YAML documents, for messages.
#pragma once

#include <string>

namespace alchemist {

// One line for each key path whose value differs, at most ten: "  grid.workload.rate: [1, 2] there, [1, 4] here".
std::string yaml_difference(const std::string& there, const std::string& here);

}  // namespace alchemist

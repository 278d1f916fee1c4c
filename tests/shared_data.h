// Where the reference data lies that some tests compare with; a test whose file is missing skips.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace alchemist {

// The environment variable ALCHEMIST_SHARED_DATA if it is set, else the folder that the build was configured with.
inline std::filesystem::path shared_data() {
  const char* chosen = std::getenv("ALCHEMIST_SHARED_DATA");
  return chosen != nullptr ? chosen : ALCHEMIST_SHARED_DATA;
}

}  // namespace alchemist

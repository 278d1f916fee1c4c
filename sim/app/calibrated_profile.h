// What `alchemist calibrate` says in a profile's meta.yaml of how it measured.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "sim/app/experiment.h"
#include "validate/machine_speed.h"

namespace alchemist {

struct CalibratedWith {
  std::optional<std::string> model, training;  // its name, and the method
  bool cuda_graphs = false;                    // decode steps were captured, each at its own size
  std::optional<SpeedLaw> speed;               // of the machine meanwhile; none where that was not measured
};

// None for a profile of another origin. ConfigError if meta.yaml cannot be read.
std::optional<CalibratedWith> calibrated_with(const std::filesystem::path& profile);

// A sentence for the user if the experiment's profile was measured with something else than what is run.
std::optional<std::string> profile_warning(const Experiment& experiment);

}  // namespace alchemist

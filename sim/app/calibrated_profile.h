// What `alchemist calibrate` says in a profile's meta.yaml of how it measured.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sim/app/experiment.h"
#include "validate/machine_speed.h"

namespace alchemist {

struct CalibratedWith {
  bool cuda_graphs = false;       // decode steps were captured, each at its own size
  std::optional<SpeedLaw> speed;  // of the machine meanwhile; none where that was not measured
};

// None for a profile of another origin. ConfigError if meta.yaml cannot be read.
std::optional<CalibratedWith> calibrated_with(const std::filesystem::path& profile);

// ConflictError if the experiment splits its layers over another number of GPUs (serving.tensor_parallel) than the
// profile's were, of which one's part was measured: meta.yaml's tensor_parallel, else 1. A single file is Vidur's
// table, which has rows for several.
void check_measured_split(const Experiment& experiment);

// What the user should know of the experiment's profile, a sentence each: that it was measured with something else than
// what is run, or does not say with what; that it lacks times which the roofline then gives.
std::vector<std::string> profile_warnings(const Experiment& experiment);

}  // namespace alchemist

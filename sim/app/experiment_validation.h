// Whether the parts of an experiment can work together.
#pragma once

#include "sim/app/experiment.h"

namespace alchemist {

// ConfigError naming the key, the reason and what would help; `root` is where the experiment was read from.
void validate_experiment(const Experiment& experiment, const YamlValue& root);

}  // namespace alchemist

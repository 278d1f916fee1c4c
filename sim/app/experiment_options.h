// The options of every command that takes an experiment.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "sim/app/experiment.h"

namespace alchemist {

struct ExperimentOptions {
  std::string name;
  ExperimentOverrides overrides;
};

// Adds EXPERIMENT, --trace, --policy, --set and --seed; `options` outlives the parsing.
void add_experiment_options(CLI::App& command, ExperimentOptions& options);

}  // namespace alchemist

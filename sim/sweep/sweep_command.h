// alchemist sweep SWEEP: many runs of one experiment.
#pragma once

#include <CLI/CLI.hpp>

namespace alchemist {

void add_sweep_command(CLI::App& app);

}  // namespace alchemist

// What the command line changes of a sweep, put into it.
#pragma once

#include "sim/app/sweep_config.h"

namespace alchemist {

// `spec` is as its file has it. A baseline that is not among the new policies gives way to the first of them.
// ConfigError that names the option if one is no such option, or changes what the sweep varies in another way.
void apply_overrides(SweepSpec& spec, const SweepOverrides& overrides);

}  // namespace alchemist

// Keys that say something of which the experiment makes no use.
#pragma once

#include <string>
#include <vector>

#include "sim/app/experiment.h"

namespace alchemist {

// A sentence for each part of the experiment that has some; keys with their default values are not told. What is there
// for several policies to be compared, such as the section `training`, is not looked at.
std::vector<std::string> idle_key_warnings(const Experiment& experiment);

}  // namespace alchemist

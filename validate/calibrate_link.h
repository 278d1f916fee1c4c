// Copies over the link by size and direction, both at once and beside kernels, and the way from one job to the next.
#pragma once

#include "validate/calibrate_steps.h"
#include "validate/calibration.h"

namespace alchemist {

void measure_link(Decoder& model, const StepBench& steps, const CalibrationConfig& config, Calibration& result);

}  // namespace alchemist

// What steps and pieces take longer while caches are cold.
#pragma once

#include "validate/calibrate_steps.h"
#include "validate/calibration.h"

namespace alchemist {

void measure_cold_starts(Decoder& model, const StepBench& steps, const CalibrationConfig& config, Calibration& result);

}  // namespace alchemist

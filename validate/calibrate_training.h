// Training pieces on a real model, over records in pages.
#pragma once

#include <vector>

#include "validate/calibrate_steps.h"
#include "validate/calibration.h"
#include "validate/record_table.h"

namespace alchemist {

// Appends to `pieces`: forward, head and backward by tokens and attended keys, what rebuilding gate and up adds, the
// optimizer step. `arena`: of the model; its first pages are overwritten.
void measure_training(Decoder& model, const CalibrationConfig& config, PagedMemory arena,
                      std::vector<PieceCase>& pieces);

// What a decode step and a piece take longer when the other kind ran last.
void measure_cold_starts(Decoder& model, const StepBench& steps, const CalibrationConfig& config, Calibration& result);

}  // namespace alchemist

#include "validate/calibration.h"

#include "validate/calibrate_link.h"
#include "validate/calibrate_steps.h"
#include "validate/calibrate_training.h"

namespace alchemist {

Calibration calibrate(Decoder& model, const CalibrationConfig& config) {
  Calibration result;
  config.progress("serving steps");
  StepBench steps(model, config);
  steps.measure(result);
  config.progress("training pieces");
  measure_training(model, config, steps.arena(), result.pieces);
  config.progress("changes between serving and training");
  measure_cold_starts(model, steps, config, result);
  config.progress("link and host");
  measure_link(model, steps, config, result);
  return result;
}

}  // namespace alchemist

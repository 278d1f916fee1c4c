#include "validate/calibration.h"

#include "validate/calibrate_cold_starts.h"
#include "validate/calibrate_link.h"
#include "validate/calibrate_steps.h"
#include "validate/calibrate_training.h"

namespace alchemist {

Calibration calibrate(Decoder& model, const CalibrationConfig& config) {
  Calibration result;
  config.progress("serving steps and training pieces");
  StepBench steps(model, config);
  TrainingRounds training(model, config, steps.arena());
  Disturbance disturbance;
  SpeedFit speed;
  steps.measure(result, {&disturbance, model.device().is_processor() ? &speed : nullptr}, [&] { training.run(); });
  result.speed = speed.fit();
  training.add_to(disturbance);
  result.disturbance = disturbance.factor();
  result.pieces = training.pieces();
  result.held_out_pieces = training.held_out();
  result.token_tile = model.device().token_tile();
  config.progress("cold caches");
  measure_cold_starts(model, steps, config, result);
  config.progress("link and host");
  measure_link(model, steps, config, result);
  return result;
}

}  // namespace alchemist

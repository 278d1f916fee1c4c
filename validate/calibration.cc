#include "validate/calibration.h"

#include <fmt/format.h>

#include "validate/calibrate_cold_starts.h"
#include "validate/calibrate_link.h"
#include "validate/calibrate_steps.h"
#include "validate/calibrate_training.h"

namespace alchemist {

Calibration calibrate(Decoder& model, const CalibrationConfig& config) {
  Calibration result;
  const int rounds = config.rounds + 1;  // the first is not counted
  int round = 1;
  const auto tell_round = [&] {
    config.progress(fmt::format("serving steps and training pieces, round {} of {}", round, rounds));
  };
  tell_round();
  StepBench steps(model, config);
  SampleLog log(model.device().is_processor());
  TrainingRounds training(model, config, steps.arena(), log);
  steps.measure(result, log, [&] {
    training.run();
    if (++round <= rounds) tell_round();
  });
  const SampleLog::Result logged = log.result();
  result.speed = logged.speed;
  result.disturbance = logged.disturbance;
  result.pieces = training.pieces(logged.timings);
  result.held_out_pieces = training.held_out(logged.timings);
  result.token_tile = model.device().token_tile();
  config.progress("cold caches");
  measure_cold_starts(model, steps, config, result);
  config.progress("link and host");
  measure_link(model, steps, config, result);
  return result;
}

}  // namespace alchemist

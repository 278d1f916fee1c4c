// alchemist validate EXPERIMENT --device: the same arrivals in both worlds.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sim/app/experiment.h"
#include "sim/node/node_replay.h"
#include "sim/report/summary.h"
#include "validate/link_worker.h"
#include "validate/operation_prices.h"
#include "validate/real_model.h"

namespace alchemist {

struct RealValidation {
  Summary real;
  Summary simulated;
  // Where the profile knows the machine's speed: how much slower it was in the real run, and simulated for that.
  double slowness = 1;
  std::optional<Summary> at_speed;
  Summary repriced;  // simulated with operations that take, kind by kind, as long as those of the real run did
  std::vector<OperationPrices::Timed> operations;  // of the real run
  ReplayTotals replayed;                           // of the real run's events
  std::vector<std::string> warnings;
};

// Runs the experiment on the device and in simulation, writes DIR/real, DIR/simulated, DIR/repriced, DIR/at_speed
// (where the profile knows the machine's speed), DIR/events.log (the real run's, which is then replayed),
// DIR/comparison.csv, DIR/operations.csv and DIR/operation_times.csv. With a bandwidth (bytes/s) the link is emulated
// in the real run and priced alike in the simulated one. ConfigError if one device cannot run the experiment, and when
// the device fails; what was done by then is in DIR/real and DIR/events.log, after an InternalError in the latter
// alone.
RealValidation validate_on_device(const Experiment& experiment, DeviceKind device, std::optional<double> link_bandwidth,
                                  const std::filesystem::path& out);

}  // namespace alchemist

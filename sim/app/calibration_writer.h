// A calibration as the folder that `profile:` takes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sim/model/model_shape.h"
#include "sim/report/output_file.h"
#include "validate/calibration.h"

namespace alchemist {

// Where and how it was measured, for meta.yaml.
struct Provenance {
  std::string device;
  std::string model;
  std::string training;  // method
  std::int64_t tensor_parallel = 1;
  bool cuda_graphs = false;
  int rounds = 0;
};

// Writes to the folder of the profile, all or nothing. `model`: what was measured, of a split model one GPU's part.
//   dense.csv, per_sequence.csv, attention.csv   serving, in microseconds of one layer or of a step (kernel_profile.h)
//   training.csv                                 training (training_profile.h)
//   held_out.csv                                 training pieces that are in no table; first_us: the first of its size
//   link.csv                                     every copy that was measured
//   host.yaml                                    link, slowdown beside copies, cold caches and host overhead, by the
//                                                keys of hardware, and the tile of tokens
//   cold.csv                                     steps behind what leaves caches cold
//   steps.csv                                    every step as measured, with 10th and 90th percentile
//   meta.yaml                                    provenance; disturbance: measurement.h
// In the files of the first two lines time_us is what an operation adds to a run on average: its median times the
// disturbance.
void write_calibration(ResultDirectory& files, const Calibration& calibration, const ModelShape& model,
                       const Provenance& provenance);

// A step or a piece of training that is in no table, as measured and as the profile prices it.
struct HeldOut {
  std::string shape;
  double measured_us = 0;
  double priced_us = 0;
  std::optional<double> first_us;  // of a piece: the first of its size
  double error() const { return (priced_us - measured_us) / measured_us; }
};
// Reads the written folder again.
std::vector<HeldOut> check_calibration(const std::filesystem::path& folder, const Calibration& calibration,
                                       const ModelShape& model);

}  // namespace alchemist

// What a device takes for the steps and pieces that the simulator prices, measured through the model that serves and
// trains for real.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sim/base/batch.h"
#include "validate/cold_start_fit.h"
#include "validate/decoder.h"
#include "validate/machine_speed.h"
#include "validate/measurement.h"

namespace alchemist {

struct CalibrationConfig {
  std::int32_t step_tokens = 512;
  std::int32_t step_sequences = 32;
  std::int32_t longest_context = 1024;  // tokens
  std::int32_t micro_batch_tokens = 2048;
  std::int32_t short_sample = 32;  // tokens: few keys, but enough work for each call that a sample takes
  int rounds = 7;
  std::function<void(const std::string&)> progress = [](const std::string&) {};  // what is measured now
};

// One serving step. Chunks and decodes, each of which has sequences of its own; `head`: all sequences yield a token.
struct StepCase {
  std::vector<PrefillChunk> chunks;
  std::int32_t decodes = 0;
  std::int32_t decode_context = 0;  // keys that each attends to, its own included
  bool head = false;
  bool records = false;  // the minimal set of all chunks
  Timing time;
};

// One kind of training piece.
struct PieceCase {
  std::string kind;  // of training.csv
  std::int64_t tokens = 0;
  double attended_keys = 0;
  Timing time;
};

// One that is in no table: what the fit is checked with.
struct HeldOutPiece {
  PieceCase piece;
  double first_us = 0;  // when none of its size had run before: libraries may choose and load kernels by size
};

struct LinkCase {
  std::string kind;  // h2d, d2h, duplex (both directions, bytes in each), busy_h2d, busy_d2h (beside a step)
  std::int64_t bytes = 0;
  Timing time;
};

struct Calibration {
  std::vector<StepCase> base;      // chunks of at most 16 tokens: all but attention and head
  std::vector<StepCase> head;      // the same, with head, for one token a sequence
  std::vector<StepCase> decode;    // by number and context
  std::vector<StepCase> mixed;     // by chunk, its context, decodes, their context
  std::vector<StepCase> recorded;  // chunks that are recorded, and the same ones that are not
  std::vector<StepCase> held_out;  // in none of the tables: what the fit is checked with
  std::vector<PieceCase> pieces;
  std::vector<HeldOutPiece> held_out_pieces;
  std::vector<LinkCase> links;
  double disturbance = 1;       // time of all steps and pieces / what it had been, had each taken its median
  SpeedLaw speed;               // at whose level all of these took their times; not known of a GPU
  Timing host;                  // from a job's end to the next one's start, by way of the deciding thread
  double kernel_slowdown = 1;   // of a step while a copy runs in each direction
  std::vector<ColdCase> cold;   // decode steps behind what leaves caches cold
  std::int64_t token_tile = 1;  // DeviceMemory::token_tile()
  Timing training_cold_start;   // what the first of two pieces behind a step takes longer
};

// Measures all of it. The model's limits must allow the sizes; its arena must not be in use. About 20 s for the tiny
// model on two cores.
Calibration calibrate(Decoder& model, const CalibrationConfig& config);

}  // namespace alchemist

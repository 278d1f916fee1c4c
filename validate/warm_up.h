// Before a run that is timed.
#pragma once

#include <cstdint>
#include <vector>

#include "validate/calibration.h"
#include "validate/decoder.h"
#include "validate/record_table.h"
#include "workloads/workload_source.h"

namespace alchemist {

// What is known of the requests to come.
struct ExpectedRequests {
  std::int64_t requests = 0;
  // DecodeSteps::key_limit() of the keys that their decodes attend to, the most frequent first.
  std::vector<std::int32_t> key_limits;
  // Tokens that micro-batches have beyond whole tiles. None where lengths are too many for each to be run.
  std::vector<std::int32_t> rests;
};

// Of those that the source yields, its first ten thousand. Micro-batches hold samples of one length here.
ExpectedRequests expected_requests(WorkloadSource& source, std::int64_t tile, std::int64_t micro_batch_tokens);

// What is run, so that no request waits for libraries and kernels to be loaded.
struct WarmUp {
  CalibrationConfig sizes;                 // the largest of everything
  std::vector<StepCase> steps;             // of serving
  std::int32_t micro_batch_tokens = 0;     // of one micro-batch; 0: the model does not train
  std::vector<std::int32_t> layer_tokens;  // a layer of training of each of these sizes
};

// Steps and a micro-batch of several shapes. With a tile of more than one token, where libraries choose their kernels
// by size: decode steps of every size, and a layer of training for every multiple of the tile, also with each of these
// rests, which are what a piece has left when whole tiles of it are done.
WarmUp warm_up_of(const DecoderOptions& options, std::int64_t tile, const std::vector<std::int32_t>& rests = {});

// Runs warm_up_of() the model. Its arena must not be in use; weights stay as they are, gradients are zero.
void warm_up(Decoder& model, std::int64_t tile = 1, const std::vector<std::int32_t>& rests = {});

// Decode steps of every number of requests at the key limits expected, of which a replayed step keeps one each.
std::vector<StepCase> decodes_of(const DecoderOptions& options, const ExpectedRequests& expected);

// Where decode steps are replayed, runs decodes_of() the model until they are, and as many that record their tokens,
// which are other shapes. They are captured with the arena that they read, so this comes when it is in use; it
// overwrites some of its `pages` pages.
void warm_up_decodes(Decoder& model, PagedMemory arena, std::int32_t pages, const ExpectedRequests& expected);

}  // namespace alchemist

// When reloading activations beats computing them again: the time of one training micro-batch by the way in which its
// activations come back, over context length and link bandwidth.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/model/hardware.h"
#include "sim/model/model_shape.h"
#include "sim/model/training_shape.h"

namespace alchemist {

// Seconds from the start of the restore to the end of backward, optimizer left out; all records lie on the host, but
// for `resident`, where nothing has to be restored.
struct RestoreSeconds {
  double reload_all = 0;
  double recompute_all = 0;
  double race = 0;
  double planned = 0;
  double resident = 0;
};

struct BreakevenPoint {
  TrainingMethod method = TrainingMethod::lora;
  std::int64_t context_tokens = 0;  // of each sequence
  std::int64_t batch_tokens = 0;    // of the micro-batch
  double link = 0;                  // bytes/s, host to device, of each GPU
  RestoreSeconds seconds;
};

// The loss is on all tokens, which makes the output head as dear as it can be. On one GPU, or on a replica of
// `tensor_parallel` of them with a link each. A micro-batch has as many sequences of `context_tokens` as fit 8192
// tokens, the default batch, and at least one. Times are those of the simulator's cost model on an otherwise idle GPU
// and link.
BreakevenPoint breakeven_point(const ModelShape& model, const HardwareSpec& hardware, const TrainingShape& training,
                               std::int64_t context_tokens, double link, std::int32_t tensor_parallel = 1);

// Both methods, contexts of 512 tokens and its doubles up to the model's longest, links from 10 to 450 GB/s and the
// hardware's own.
std::vector<BreakevenPoint> breakeven_points(const ModelShape& model, const HardwareSpec& hardware,
                                             std::int32_t tensor_parallel = 1);

// The shortest context at which reloading everything takes no longer than recomputing everything, none if there is none
// up to the model's longest. Longer contexts make recomputing dearer and leave reloading as it is; sequences that fill
// the micro-batch less than half leave the pieces smaller, so the answer is exact to a few per cent only.
std::optional<std::int64_t> breakeven_context(const ModelShape& model, const HardwareSpec& hardware,
                                              const TrainingShape& training, double link,
                                              std::int32_t tensor_parallel = 1);

// For people, with the break-even contexts; and as CSV, one line a point.
std::string breakeven_table(const ModelShape& model, const HardwareSpec& hardware, std::int32_t tensor_parallel = 1);
std::string breakeven_csv(const std::vector<BreakevenPoint>& points);

}  // namespace alchemist

// One decoder layer as the model runs it, and what recording costs a prefill.
#pragma once

#include <string>
#include <vector>

#include "sim/model/model_shape.h"
#include "tests/benchmarks/kernels/timing.h"
#include "validate/decoder.h"

namespace alchemist::benchmarks {

struct NamedTimes {
  std::string name;
  Times times;
};

// Forward and backward of a layer over one sequence of `tokens` tokens, LoRA and full, from minimal and lean records;
// a prefill step of as many tokens through one layer, without recording and with either record.
template <class T>
std::vector<NamedTimes> layer_times(Device<T>& device, const ModelShape& shape, std::int64_t tokens,
                                    const Effort& effort);

}  // namespace alchemist::benchmarks

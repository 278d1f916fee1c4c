// Copies of the trained weights of past versions, for what was recorded under them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sim/base/ids.h"
#include "validate/decoder.h"
#include "validate/device_array.h"

namespace alchemist {

class KeptWeights {
 public:
  // Takes device memory for the last `versions` >= 1 versions before the model's own (ConfigError if it has none). The
  // model outlives this.
  KeptWeights(Decoder& model, std::int32_t versions);

  // The model's weights of now; to be called before each optimizer step.
  void keep();
  // Of a version that is kept (checked); null: it is the model's own.
  const std::byte* find(WeightVersion version) const;

 private:
  std::byte* place_of(WeightVersion version) const;

  Decoder& model_;
  std::int64_t versions_;
  std::int64_t place_bytes_;  // of one of them
  DeviceArray<std::byte> memory_;
};

}  // namespace alchemist

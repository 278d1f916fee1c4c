#include "validate/warm_up.h"

#include <algorithm>

#include "validate/calibrate_steps.h"
#include "validate/calibrate_training.h"

namespace alchemist {

void warm_up(Decoder& model) {
  constexpr std::int64_t kMostTokens = 2048;
  const DecoderLimits& limits = model.options().limits;
  const auto at_most = [&](std::int64_t limit) { return static_cast<std::int32_t>(std::min(limit, kMostTokens)); };
  const std::int32_t decodes_at_once = std::min(4, at_most(limits.step_sequences - 1));
  CalibrationConfig sizes;
  sizes.step_tokens = at_most(limits.step_tokens) - decodes_at_once;
  sizes.step_sequences = decodes_at_once;
  sizes.longest_context = at_most(model.options().shape.max_position / 2);
  sizes.micro_batch_tokens = at_most(std::min(limits.micro_batch_tokens, model.options().shape.max_position));
  const StepBench steps(model, sizes);
  for (const std::int32_t chunk : {0, 16, 256, sizes.step_tokens}) {
    for (const std::int32_t decodes : {1, decodes_at_once}) {
      StepCase shape;
      if (chunk > 0) shape.chunks = {{std::min(chunk, sizes.step_tokens), 0}};
      shape.decodes = decodes;
      shape.decode_context = sizes.longest_context;
      shape.head = true;
      steps.runner(shape)();
    }
  }
  if (model.options().train) run_micro_batch(model, sizes.micro_batch_tokens, steps.arena());
}

}  // namespace alchemist

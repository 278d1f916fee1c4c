#include "validate/warm_up.h"

#include <algorithm>

#include "validate/calibrate_steps.h"
#include "validate/calibrate_training.h"

namespace alchemist {

void warm_up(Decoder& model, std::int64_t tile) {
  constexpr std::int64_t kMostTokens = 8192;
  const DecoderLimits& limits = model.options().limits;
  const auto at_most = [&](std::int64_t limit) { return static_cast<std::int32_t>(std::min(limit, kMostTokens)); };
  CalibrationConfig sizes;
  sizes.step_tokens = at_most(limits.step_tokens);
  sizes.step_sequences = 4;
  sizes.longest_context = at_most(model.options().shape.max_position / 2);
  sizes.micro_batch_tokens = at_most(std::min(limits.micro_batch_tokens, model.options().shape.max_position));
  const StepBench steps(model, sizes);
  for (const std::int32_t tokens : {1, sizes.step_sequences, 16, 256, sizes.step_tokens}) {
    for (const std::int32_t decodes : {0, 1, sizes.step_sequences}) {
      const std::int32_t chunk = std::min(tokens, sizes.step_tokens) - decodes;
      if (chunk < 0 || decodes + (chunk > 0 ? 1 : 0) > limits.step_sequences) continue;
      StepCase shape;
      if (chunk > 0) shape.chunks = {{chunk, 0}};
      shape.decodes = decodes;
      shape.decode_context = decodes > 0 ? sizes.longest_context : 0;
      shape.head = true;
      steps.runner(shape)();
    }
  }
  if (model.options().train) run_micro_batch(model, sizes.micro_batch_tokens, steps.arena());
  if (tile == 1) return;
  for (std::int64_t decodes = 1; decodes <= limits.step_sequences; ++decodes) {
    StepCase shape;
    shape.decodes = static_cast<std::int32_t>(decodes);
    shape.decode_context = 1;
    shape.head = true;
    steps.runner(shape)();
  }
  if (!model.options().train) return;
  for (std::int64_t tokens = tile; tokens <= sizes.micro_batch_tokens; tokens += tile) {
    run_layer(model, static_cast<std::int32_t>(tokens), sizes.longest_context, steps.arena());
  }
}

}  // namespace alchemist

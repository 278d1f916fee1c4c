#include "validate/warm_up.h"

#include <algorithm>

#include "validate/calibrate_steps.h"
#include "validate/calibrate_training.h"

namespace alchemist {
namespace {

constexpr std::int64_t kMostTokens = 8192;

std::int32_t at_most(std::int64_t limit) { return static_cast<std::int32_t>(std::min(limit, kMostTokens)); }

StepCase step_of(std::int32_t chunk, std::int32_t decodes, std::int32_t context) {
  StepCase shape;
  if (chunk > 0) shape.chunks = {{chunk, 0}};
  shape.decodes = decodes;
  shape.decode_context = decodes > 0 ? context : 0;
  shape.head = true;
  return shape;
}

}  // namespace

WarmUp warm_up_of(const DecoderOptions& options, std::int64_t tile) {
  const DecoderLimits& limits = options.limits;
  WarmUp all;
  CalibrationConfig& sizes = all.sizes;
  sizes.step_tokens = at_most(limits.step_tokens);
  sizes.step_sequences = 4;
  sizes.longest_context = at_most(options.shape.max_position / 2);
  sizes.micro_batch_tokens = at_most(std::min(limits.micro_batch_tokens, options.shape.max_position));
  for (const std::int32_t tokens : {1, sizes.step_sequences, 16, 256, sizes.step_tokens}) {
    for (const std::int32_t decodes : {0, 1, sizes.step_sequences}) {
      const std::int32_t chunk = std::min(tokens, sizes.step_tokens) - decodes;
      if (chunk < 0 || decodes + (chunk > 0 ? 1 : 0) > limits.step_sequences) continue;
      all.steps.push_back(step_of(chunk, decodes, sizes.longest_context));
    }
  }
  if (options.train) all.micro_batch_tokens = sizes.micro_batch_tokens;
  if (tile == 1) return all;
  for (std::int32_t decodes = 1; decodes <= std::min(limits.step_sequences, limits.step_tokens); ++decodes) {
    all.steps.push_back(step_of(0, decodes, 1));
  }
  for (std::int64_t tokens = tile; tokens <= all.micro_batch_tokens; tokens += tile) {
    all.layer_tokens.push_back(static_cast<std::int32_t>(tokens));
  }
  return all;
}

void warm_up(Decoder& model, std::int64_t tile) {
  const WarmUp all = warm_up_of(model.options(), tile);
  const StepBench steps(model, all.sizes);
  for (const StepCase& shape : all.steps) steps.runner(shape)();
  if (all.micro_batch_tokens > 0) run_micro_batch(model, all.micro_batch_tokens, steps.arena());
  for (const std::int32_t tokens : all.layer_tokens) {
    run_layer(model, tokens, all.sizes.longest_context, steps.arena());
  }
}

}  // namespace alchemist

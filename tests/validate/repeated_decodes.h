// Requests that come and go, decoded by a small model in bf16.
#pragma once

#include "tests/validate/serving.h"

namespace alchemist {

inline DecoderOptions repeated_decode_options(bool repeat_decodes) {
  DecoderOptions options;
  options.shape = {"repeated", 2, 64, 96, 4, 2, 32, 40, 512, true, false, 2};
  options.training.lora_rank = 8;
  options.limits = {.step_tokens = 320, .step_sequences = 8, .micro_batch_tokens = 16, .block_size = 4};
  options.seed = 7;
  options.repeat_decodes = repeat_decodes;
  return options;
}

// Sampled tokens of all steps. One context crosses 256 keys meanwhile, where attention divides its work anew and wants
// more memory. Of nine steps with two requests the first four end with at most 256 keys; then come three with three
// requests, and four with two again.
inline std::vector<std::int32_t> decode_requests(bool repeat_decodes, std::unique_ptr<Device<BFloat16>> device) {
  TestDecoder<BFloat16> model(repeated_decode_options(repeat_decodes), std::move(device));
  PageList pages(159);
  std::vector<Served> running;
  std::vector<std::int32_t> all;
  const auto step = [&](const std::vector<std::int32_t>& counts) {
    std::vector<SequenceStep> batch;
    for (std::size_t i = 0; i < running.size(); ++i) batch.push_back(running[i].next_chunk(counts[i]));
    std::vector<std::int32_t> next(batch.size());
    model->step(batch, next);
    for (std::size_t i = 0; i < running.size(); ++i) running[i].tokens.push_back(next[i]);
    all.insert(all.end(), next.begin(), next.end());
  };
  const auto admit = [&](std::int32_t prompt, std::int32_t blocks) {
    Served request;
    for (std::int32_t i = 0; i < prompt; ++i) request.tokens.push_back((i * 7 + prompt) % 40);
    request.tokens.reserve(512);
    request.blocks = pages.take(blocks);
    running.push_back(std::move(request));
  };
  admit(252, 70);
  admit(5, 10);
  step({252, 5});
  for (int i = 0; i < 9; ++i) step({1, 1});
  admit(3, 8);
  step({1, 1, 3});
  for (int i = 0; i < 3; ++i) step({1, 1, 1});
  running.erase(running.begin() + 1);
  for (int i = 0; i < 4; ++i) step({1, 1});
  return all;
}

}  // namespace alchemist

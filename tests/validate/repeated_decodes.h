// Requests that come and go, decoded by a small model in bf16.
#pragma once

#include <optional>

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

struct DecodedRequests {
  std::vector<std::int32_t> tokens;  // sampled, of all steps
  std::vector<std::byte> arena;      // keys, values and records behind them
};

// One context crosses 256 keys meanwhile, where attention divides its work anew. Of nine steps with two requests the
// first four end with at most 256 keys; then come three with three requests, and four with two again. With `record`,
// what the first and the third request decode is kept, of the first for as long as its record has room.
inline DecodedRequests decode_requests(bool repeat_decodes, bool record, std::unique_ptr<Device<BFloat16>> device) {
  constexpr std::int32_t kRoom = 12;
  TestDecoder<BFloat16> model(repeated_decode_options(repeat_decodes), std::move(device));
  std::vector<std::byte> arena(static_cast<std::size_t>(model.kPages * model->page_bytes()));
  model.device().fill_zero(model.arena(), static_cast<std::int64_t>(arena.size()));
  PageList pages(159);
  std::vector<Served> running;
  struct AnswerRecord {
    PagedRecord memory;
    RecordKind kind = RecordKind::kMinimal;
    std::int32_t first_token = 0;
  };
  std::vector<std::optional<AnswerRecord>> records;
  std::vector<std::int32_t> all;
  const auto step = [&](const std::vector<std::int32_t>& counts) {
    std::vector<SequenceStep> batch;
    for (std::size_t i = 0; i < running.size(); ++i) {
      batch.push_back(running[i].next_chunk(counts[i]));
      if (!records[i]) continue;
      const std::int32_t token = batch.back().context - records[i]->first_token;
      if (token < 0 || token >= kRoom) continue;
      batch.back().record = records[i]->memory.layers;
      batch.back().record_kind = records[i]->kind;
      batch.back().record_tokens = kRoom;
      batch.back().record_first = token;
    }
    std::vector<std::int32_t> next(batch.size());
    model->step(batch, next);
    for (std::size_t i = 0; i < running.size(); ++i) running[i].tokens.push_back(next[i]);
    all.insert(all.end(), next.begin(), next.end());
  };
  const auto admit = [&](std::int32_t prompt, std::int32_t blocks, std::optional<RecordKind> kind) {
    records.emplace_back();
    if (record && kind) records.back() = AnswerRecord{new_paged_record(model, pages, *kind, kRoom), *kind, prompt};
    Served request;
    for (std::int32_t i = 0; i < prompt; ++i) request.tokens.push_back((i * 7 + prompt) % 40);
    request.tokens.reserve(512);
    request.blocks = pages.take(blocks);
    running.push_back(std::move(request));
  };
  admit(252, 70, RecordKind::kMinimal);
  admit(5, 10, std::nullopt);
  step({252, 5});
  for (int i = 0; i < 9; ++i) step({1, 1});
  admit(3, 8, RecordKind::kLean);
  step({1, 1, 3});
  for (int i = 0; i < 3; ++i) step({1, 1, 1});
  running.erase(running.begin() + 1);
  records.erase(records.begin() + 1);
  for (int i = 0; i < 4; ++i) step({1, 1});
  model.device().download(arena.data(), model.arena(), static_cast<std::int64_t>(arena.size()));
  return {all, arena};
}

}  // namespace alchemist

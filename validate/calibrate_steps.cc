#include "validate/calibrate_steps.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "validate/measure_in_turns.h"

namespace alchemist {
namespace {

constexpr std::int32_t kBaseChunk = 16;  // attention to so few keys is next to nothing

// Where memory does not hold all, sequences share pages, of which there are still more than any cache holds.
std::int32_t pages_for(Decoder& model, const CalibrationConfig& config) {
  const std::int32_t block = model.options().limits.block_size;
  const std::int32_t blocks = (config.longest_context + config.step_tokens) / block + 2;
  const std::int64_t wanted = static_cast<std::int64_t>(config.step_sequences + 1) * blocks;
  const RecordLayout layout(model.options().shape);
  const std::int64_t record = layout.bytes_per_token(RecordKind::kMinimal) * config.micro_batch_tokens;
  // A layer of a micro-batch, twice, and the record of a step.
  const std::int64_t step_record =
      layout.bytes_per_token(RecordKind::kMinimal) * config.step_tokens * model.options().shape.layers;
  const std::int64_t least = std::max(2 * (record / model.page_bytes() + 1), step_record / model.page_bytes() + 1);
  const std::int64_t room = model.device().usable_bytes() / 10 * 9 / model.page_bytes();
  return static_cast<std::int32_t>(std::max(std::min(wanted, room), least));
}

// Every number up to 16, where products take rows in groups whose size differs by library and a step in between would
// be missed, then steps of a quarter to a half up to `last` itself.
std::vector<std::int32_t> counts_up_to(std::int32_t last) {
  constexpr std::int32_t kEvery = 16;
  std::vector<std::int32_t> values;
  for (std::int32_t value = 1; value < last;
       value += value < kEvery
                    ? 1
                    : std::max(1, static_cast<std::int32_t>(std::bit_floor(static_cast<std::uint32_t>(value))) / 4))
    values.push_back(value);
  values.push_back(last);
  return values;
}

StepCase short_chunks(std::int32_t tokens) {
  StepCase shape;
  for (std::int32_t left = tokens; left > 0; left -= kBaseChunk)
    shape.chunks.push_back({std::min(left, kBaseChunk), 0});
  return shape;
}

// Steps of the same shape that run untimed before one that is timed. Decode steps follow each other, and find of their
// few sequences' keys what caches hold. Where they are replayed, one that has not run before, or with memory that has
// moved since, runs as it is and is then captured; so does what the model takes for decodes, single tokens of a prompt.
int steps_before(const StepCase& shape, const DecoderOptions& options) {
  if (!options.repeat_decodes) return shape.chunks.empty() ? 1 : 0;
  const auto is_single = [](const PrefillChunk& chunk) { return chunk.tokens == 1; };
  return std::all_of(shape.chunks.begin(), shape.chunks.end(), is_single) ? 2 : 0;
}

// Each of a token without a context.
StepCase decodes_of(std::int32_t count) {
  StepCase shape;
  shape.decodes = count;
  shape.decode_context = 1;
  return shape;
}

}  // namespace

StepBench::StepBench(Decoder& model, const CalibrationConfig& config)
    : model_(model),
      config_(config),
      pages_(pages_for(model, config)),
      own_(std::in_place, model.device(), model.page_bytes() * pages_),
      arena_{own_->data(), model.page_bytes()} {
  own_->fill_zero();
  model.use_arena(arena_.base);
}

StepBench::StepBench(Decoder& model, PagedMemory arena, std::int32_t pages)
    : model_(model), pages_(pages), arena_(arena) {}

void StepBench::add(Batch& batch, std::int32_t tokens, std::int32_t context, std::int32_t& next_page) const {
  Sequence& sequence = batch.sequences.emplace_back();
  sequence.context = context;
  for (std::int32_t i = 0; i < tokens; ++i) {
    sequence.tokens.push_back(static_cast<std::int32_t>((i * 7919 + next_page) % model_.options().shape.vocabulary));
  }
  const std::int32_t block = model_.options().limits.block_size;
  for (std::int32_t i = 0; i < (context + tokens + block - 1) / block; ++i) {
    sequence.table.push_back(next_page++ % pages_);
  }
}

std::shared_ptr<const StepBench::Batch> StepBench::batch_of(const StepCase& shape) const {
  auto batch = std::make_shared<Batch>();
  batch->head = shape.head;
  std::int32_t next_page = 0;
  for (std::int32_t i = 0; i < shape.decodes; ++i) add(*batch, 1, shape.decode_context - 1, next_page);
  for (const PrefillChunk& chunk : shape.chunks) add(*batch, chunk.tokens, chunk.context, next_page);
  if (!shape.records) return batch;
  for (std::int32_t page = pages_; page-- > 0;) batch->record_pages.push_back(page);
  const RecordLayout layout(model_.options().shape);
  std::int64_t offset = 0;
  for (Sequence& sequence : batch->sequences) {
    for (std::int64_t layer = 0; layer < model_.options().shape.layers; ++layer) {
      sequence.record.push_back({arena_.base, arena_.page_bytes, batch->record_pages, offset});
      offset += layout.bytes_per_token(RecordKind::kMinimal) * static_cast<std::int64_t>(sequence.tokens.size());
    }
  }
  return batch;
}

std::function<void()> StepBench::runner(const StepCase& shape) const {
  return [this, batch = batch_of(shape)] {
    std::vector<SequenceStep> steps;
    for (const Sequence& sequence : batch->sequences) {
      SequenceStep step;
      step.tokens = sequence.tokens;
      step.context = sequence.context;
      step.block_table = sequence.table;
      step.record = sequence.record;
      step.yields_token = batch->head;
      steps.push_back(step);
    }
    std::vector<std::int32_t> next(steps.size());
    model_.step(steps, next);
    model_.device().synchronise();
  };
}

std::vector<StepCase> StepBench::base_cases() const {
  std::vector<StepCase> cases;
  const std::int32_t most = std::min(config_.step_tokens + config_.step_sequences,
                                     static_cast<std::int32_t>(model_.options().limits.step_tokens));
  for (const std::int32_t tokens : counts_up_to(most)) {
    // Where steps of decodes alone are another way to run the same work, they are what small steps are.
    const bool decodes = model_.options().repeat_decodes && tokens <= config_.step_sequences;
    cases.push_back(decodes ? decodes_of(tokens) : short_chunks(tokens));
  }
  return cases;
}

std::vector<StepCase> StepBench::head_cases() const {
  std::vector<StepCase> cases;
  for (const std::int32_t sequences : counts_up_to(config_.step_sequences)) {
    StepCase shape;
    shape.chunks.assign(static_cast<std::size_t>(sequences), {1, 0});
    cases.push_back(shape);
    shape.head = true;
    cases.push_back(shape);
  }
  return cases;
}

std::vector<StepCase> StepBench::decode_cases() const {
  std::vector<StepCase> cases;
  for (const std::int32_t decodes : {1, 4, 12, config_.step_sequences}) {
    for (const std::int32_t context : {32, 128, config_.longest_context / 2, config_.longest_context}) {
      StepCase shape;
      shape.decodes = decodes;
      shape.decode_context = context;
      cases.push_back(shape);
    }
  }
  return cases;
}

std::vector<StepCase> StepBench::mixed_cases() const {
  std::vector<StepCase> cases;
  for (const std::int32_t chunk : {16, 64, 192, config_.step_tokens}) {
    for (const std::int32_t context : {0, 192, config_.longest_context / 2, config_.longest_context}) {
      for (const std::int32_t decodes : {0, 6, config_.step_sequences - 1}) {
        for (const std::int32_t keys : {64, config_.longest_context}) {
          if (decodes == 0 && keys != 64) continue;
          StepCase shape;
          shape.chunks = {{chunk, context}};
          shape.decodes = decodes;
          shape.decode_context = decodes > 0 ? keys : 0;
          cases.push_back(shape);
        }
      }
    }
  }
  return cases;
}

std::vector<StepCase> StepBench::recorded_cases() const {
  std::vector<StepCase> cases;
  for (const std::int32_t tokens : {32, 128, config_.step_tokens}) {
    StepCase shape;
    shape.chunks = {{tokens, 0}};
    cases.push_back(shape);
    shape.records = true;
    cases.push_back(shape);
  }
  return cases;
}

std::vector<StepCase> StepBench::held_out_cases() const {
  std::vector<StepCase> cases(6);
  cases[0].chunks = {{100, 0}};
  cases[1].chunks = {{100, 150}};
  cases[1].decodes = 3;
  cases[1].decode_context = 200;
  cases[2].decodes = 7;
  cases[2].decode_context = 300;
  cases[3].decodes = 20;
  cases[3].decode_context = 150;
  cases[4].chunks = {{250, 0}};
  cases[4].decodes = 10;
  cases[4].decode_context = 400;
  cases[5].chunks = {{60, 0}, {80, 50}};
  cases[5].decodes = 8;
  cases[5].decode_context = 180;
  for (StepCase& shape : cases) shape.head = true;
  return cases;
}

void StepBench::measure(Calibration& result, SampleLog& log, const std::function<void()>& after_round) {
  result.base = base_cases();
  result.head = head_cases();
  result.decode = decode_cases();
  result.mixed = mixed_cases();
  result.recorded = recorded_cases();
  result.held_out = held_out_cases();
  std::vector<StepCase*> all;
  for (std::vector<StepCase>* cases :
       {&result.base, &result.head, &result.decode, &result.mixed, &result.recorded, &result.held_out}) {
    for (StepCase& shape : *cases) all.push_back(&shape);
  }
  std::vector<TimedCase> runs;
  for (const StepCase* shape : all) runs.push_back({runner(*shape), steps_before(*shape, model_.options())});
  const std::vector<std::size_t> logged = measure_in_turns(runs, config_.rounds, log, after_round);
  const std::vector<Timing> timings = log.result().timings;
  for (std::size_t i = 0; i < all.size(); ++i) all[i]->time = timings[logged[i]];
}

}  // namespace alchemist

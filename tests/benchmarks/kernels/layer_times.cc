#include "tests/benchmarks/kernels/layer_times.h"

#include <algorithm>

#include "validate/device_array.h"

namespace alchemist::benchmarks {
namespace {

constexpr std::int32_t kBlock = 16;

// A layer's time does not depend on how many there are, nor on the vocabulary. The upper of two layers is timed: below
// the lower one lies the embedding.
ModelShape layers_of(ModelShape shape, std::int64_t layers, std::int64_t element_bytes) {
  shape.layers = layers;
  shape.vocabulary = std::min<std::int64_t>(shape.vocabulary, 4096);
  shape.dtype_bytes = element_bytes;
  return shape;
}

DecoderOptions options_for(const ModelShape& shape, TrainingMethod method, std::int64_t tokens, bool train) {
  DecoderOptions options;
  options.shape = shape;
  options.shape.max_position = tokens;
  options.training.method = method;
  options.limits = {.step_tokens = tokens, .step_sequences = 8, .micro_batch_tokens = tokens, .block_size = kBlock};
  options.train = train;
  return options;
}

std::vector<std::int32_t> some_tokens(std::int64_t count, std::int64_t vocabulary) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<std::int32_t>(i * 7919 % vocabulary));
  return tokens;
}

template <class T>
void time_training(Device<T>& device, const ModelShape& shape, TrainingMethod method, std::int64_t tokens,
                   const Effort& effort, std::vector<NamedTimes>& result) {
  const std::unique_ptr<Decoder> model = make_decoder(device, options_for(shape, method, tokens, true));
  const std::string suffix = method == TrainingMethod::lora ? "_lora" : "_full";
  const std::vector<std::int32_t> ids = some_tokens(tokens, shape.vocabulary);
  const auto count = static_cast<std::int32_t>(tokens);
  const std::vector<TrainingSample> samples = {{ids, count / 2, 1.0 / static_cast<double>(tokens), 0}};
  const std::vector<RowRange> rows = {{0, count}};
  DeviceArray<std::byte> record(device, tokens * RecordLayout(shape).bytes_per_token(RecordKind::kMinimal));
  const auto piece = [&](RecordKind used) {
    return std::vector<ActivationPiece>{
        {{0, count}, used, RecordKind::kMinimal, count, 0, contiguous_memory(record.data())}};
  };
  const std::vector<ActivationPiece> whole = piece(RecordKind::kMinimal);
  const auto start = [&] {
    model->begin_micro_batch(samples);
    model->forward_layer({0, rows, {}, whole});
  };
  const auto forward = [&] { model->forward_layer({1, rows, {}, whole}); };
  result.push_back({"layer_forward" + suffix, time_each(device, effort, start, forward)});
  const auto start_backward = [&] {
    start();
    forward();
    model->head({{0, count}, {}});
  };
  for (const RecordKind kind : {RecordKind::kMinimal, RecordKind::kLean}) {
    const std::vector<ActivationPiece> used = piece(kind);
    result.push_back({"layer_backward" + suffix + (kind == RecordKind::kLean ? "_lean" : "_minimal"),
                      time_each(device, effort, start_backward, [&] {
                        model->backward_layer({1, {0, count}, used});
                      })});
  }
}

template <class T>
void time_recording(Device<T>& device, const ModelShape& shape, std::int64_t tokens, const Effort& effort,
                    std::vector<NamedTimes>& result) {
  const std::unique_ptr<Decoder> model = make_decoder(device, options_for(shape, TrainingMethod::lora, tokens, false));
  const std::int64_t blocks = (tokens + kBlock - 1) / kBlock, page = model->page_bytes();
  const std::int64_t minimal = tokens * RecordLayout(shape).bytes_per_token(RecordKind::kMinimal);
  const std::int64_t record_pages = (minimal + page - 1) / page;
  DeviceArray<std::byte> arena(device, (blocks + record_pages) * page);
  model->use_arena(arena.data());
  std::vector<std::int32_t> table, pages;
  for (std::int64_t i = 0; i < blocks; ++i) table.push_back(static_cast<std::int32_t>(i));
  for (std::int64_t i = record_pages; i-- > 0;) pages.push_back(static_cast<std::int32_t>(blocks + i));
  const std::vector<std::int32_t> ids = some_tokens(tokens, shape.vocabulary);
  const std::vector<RecordMemory> record = {{arena.data(), page, pages, 0}};
  std::vector<std::int32_t> next(1);
  const auto step = [&](bool recorded, RecordKind kind) {
    SequenceStep sequence;
    sequence.tokens = ids;
    sequence.block_table = table;
    sequence.record_kind = kind;
    if (recorded) sequence.record = record;
    model->step(std::vector{sequence}, next);
  };
  result.push_back({"prefill", time_runs(device, effort, [&](int) { step(false, RecordKind::kMinimal); })});
  result.push_back({"prefill_lean", time_runs(device, effort, [&](int) { step(true, RecordKind::kLean); })});
  result.push_back({"prefill_minimal", time_runs(device, effort, [&](int) { step(true, RecordKind::kMinimal); })});
}

}  // namespace

template <class T>
std::vector<NamedTimes> layer_times(Device<T>& device, const ModelShape& model, std::int64_t tokens,
                                    const Effort& effort) {
  const auto element_bytes = static_cast<std::int64_t>(sizeof(T));
  const ModelShape two = layers_of(model, 2, element_bytes);
  std::vector<NamedTimes> result;
  time_training(device, two, TrainingMethod::lora, tokens, effort, result);
  time_training(device, two, TrainingMethod::full, tokens, effort, result);
  time_recording(device, layers_of(model, 1, element_bytes), tokens, effort, result);
  return result;
}

template std::vector<NamedTimes> layer_times(Device<float>&, const ModelShape&, std::int64_t, const Effort&);
template std::vector<NamedTimes> layer_times(Device<BFloat16>&, const ModelShape&, std::int64_t, const Effort&);

}  // namespace alchemist::benchmarks

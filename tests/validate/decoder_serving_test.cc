// Serving: however a prompt is cut into chunks and mixed with other sequences, the same activations, keys and values
// come out. In double, where sums in another order differ by about 1e-14.
#include <gmock/gmock.h>

#include "sim/model/record_set.h"
#include "tests/validate/serving.h"

namespace alchemist {
namespace {

// The minimal record of all tokens of a request, by layer and tensor, served in chunks of these sizes, beside another
// request that decodes. Returns the token after the last as well.
struct Recorded {
  std::map<std::pair<std::size_t, RecordTensor>, std::vector<double>> values;
  std::int32_t next = 0;
};

Recorded serve(const std::vector<std::int32_t>& chunks, bool head_norms) {
  TestDecoder<double> model(small_options<double>(TrainingMethod::lora, head_norms));
  PageList pages(TestDecoder<double>::kPages);
  Served other = new_request(model, pages, random_tokens(40, 37, 2));
  Served request = new_request(model, pages, random_tokens(23, 37, 1));
  std::vector<std::int32_t> next(2);
  const SequenceStep prompt = other.next_chunk(9);
  model->step(std::span(&prompt, 1), std::span(next).first(1));
  Recorded recorded;
  for (const std::int32_t count : chunks) {
    SequenceStep steps[2] = {other.next_chunk(1), request.next_chunk(count)};
    const std::vector<RecordMemory> memory = model.new_records(RecordKind::kMinimal, count);
    steps[1].record = memory;
    model->step(steps, next);
    for (std::size_t l = 0; l < memory.size(); ++l) {
      for (const RecordTensor tensor : model.layout().tensors(RecordKind::kMinimal)) {
        const auto chunk = record_values(model, memory[l], RecordKind::kMinimal, tensor, count);
        auto& all = recorded.values[{l, tensor}];
        all.insert(all.end(), chunk.begin(), chunk.end());
      }
    }
  }
  recorded.next = next[1];
  return recorded;
}

void expect_same(const Recorded& a, const Recorded& b) {
  EXPECT_EQ(a.next, b.next);
  ASSERT_EQ(a.values.size(), b.values.size());
  for (const auto& [key, values] : a.values) {
    const auto& others = b.values.at(key);
    ASSERT_EQ(values.size(), others.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(values[i], others[i], 1e-11) << "layer " << key.first << " tensor " << static_cast<int>(key.second);
    }
  }
}

// Without and with norms of heads.
class DecoderServing : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(HeadNorms, DecoderServing, testing::Bool());

TEST_P(DecoderServing, PrefillInChunksIsOnePrefill) {
  expect_same(serve({23}, GetParam()), serve({8, 3, 12}, GetParam()));
}

TEST_P(DecoderServing, DecodeIsPrefill) {
  std::vector<std::int32_t> chunks(1 + 10, 1);
  chunks.front() = 13;
  expect_same(serve({23}, GetParam()), serve(chunks, GetParam()));
}

// Training's forward over rows gives what serving's over the paged cache gave.
TEST_P(DecoderServing, TrainingForwardIsServing) {
  const Recorded served = serve({23}, GetParam());
  TestDecoder<double> model(small_options<double>(TrainingMethod::lora, GetParam()));
  Samples samples({{20, 3}}, 37);
  const std::vector<std::int32_t> tokens = random_tokens(23, 37, 1);
  samples.list[0].tokens = tokens;
  model->begin_micro_batch(samples.list);
  const LayerPieces pieces = run_forward(model, samples.whole(), RecordKind::kMinimal);
  Recorded trained{{}, served.next};
  for (std::size_t l = 0; l < pieces.size(); ++l) {
    for (const RecordTensor tensor : model.layout().tensors(RecordKind::kMinimal)) {
      trained.values[{l, tensor}] = record_values(model, pieces[l][0].memory, RecordKind::kMinimal, tensor, 23);
    }
  }
  expect_same(served, trained);
}

TEST_P(DecoderServing, ChunksThatEndNoPromptYieldNothing) {
  TestDecoder<double> model(small_options<double>(TrainingMethod::lora, GetParam()));
  PageList pages(TestDecoder<double>::kPages);
  Served request = new_request(model, pages, random_tokens(10, 37, 1));
  SequenceStep chunk = request.next_chunk(6);
  chunk.yields_token = false;
  std::int32_t next = 1234;
  model->step(std::span(&chunk, 1), std::span(&next, 1));
  EXPECT_EQ(next, 1234);
}

// What a record holds is what the simulator says, byte for byte: by hand for Llama-3.1-8B in bf16, and by the layer
// graph for others.
TEST(RecordLayout, BytesAreTheSimulators) {
  const ModelShape llama{"llama-3.1-8b", 32, 4096, 14336, 32, 8, 128, 128256, 131072, false, false, 2};
  EXPECT_EQ(RecordLayout(llama).bytes_per_token(RecordKind::kMinimal), 94'344);
  EXPECT_EQ(RecordLayout(llama).bytes_per_token(RecordKind::kLean), 37'000);
  EXPECT_EQ(RecordLayout(llama).bytes_per_token(RecordKind::kInput), 8'192);
  const auto with_head_norms = [](ModelShape shape) {
    shape.qk_norm = true;
    return shape;
  };
  EXPECT_EQ(RecordLayout(with_head_norms(llama)).bytes_per_token(RecordKind::kMinimal), 94'344 + (32 + 8) * 4);
  for (const ModelShape& shape :
       {llama, small_shape<float>(), with_head_norms(llama), with_head_norms(small_shape<float>())}) {
    const LayerGraph graph = build_layer_graph(shape, {});
    const RecordLayout layout(shape);
    EXPECT_EQ(Bytes(layout.bytes_per_token(RecordKind::kMinimal)), find_record_set(graph, "minimal")->bytes_per_token);
    EXPECT_EQ(Bytes(layout.bytes_per_token(RecordKind::kLean)), find_record_set(graph, "lean")->bytes_per_token);
    EXPECT_EQ(Bytes(layout.bytes_per_token(RecordKind::kInput)), find_record_set(graph, "input")->bytes_per_token);
  }
}

// A lean record is the end of a minimal one.
TEST(RecordLayout, LeanIsTheEndOfMinimal) {
  const RecordLayout layout(small_shape<float>());
  const std::int64_t skipped = layout.range(RecordKind::kMinimal, RecordTensor::kGateUp, 5).end;
  for (const RecordTensor tensor : layout.tensors(RecordKind::kLean)) {
    const ByteRange minimal = layout.range(RecordKind::kMinimal, tensor, 5);
    const ByteRange lean = layout.range(RecordKind::kLean, tensor, 5);
    EXPECT_EQ(minimal.begin - skipped, lean.begin);
    EXPECT_EQ(minimal.end - skipped, lean.end);
  }
}

}  // namespace
}  // namespace alchemist

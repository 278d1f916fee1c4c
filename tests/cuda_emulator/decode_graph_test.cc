// Decode steps replayed from graphs: the same tokens as steps whose kernels are started one by one.
#include <gmock/gmock.h>

#include "kernels/cuda/captured_calls.h"
#include "kernels/cuda/device.h"
#include "sim/base/error.h"
#include "tests/validate/repeated_decodes.h"
#include "validate/warm_up.h"

namespace alchemist {
namespace {

TEST(EmulatedDecodeGraph, TokensAreThoseOfStepsWithoutOne) {
  const std::vector<std::int32_t> expected = decode_requests(false, false, cuda::make_device(0)).tokens;
  const int before = cuda_emulator::launched_graphs;
  EXPECT_EQ(decode_requests(true, false, cuda::make_device(0)).tokens, expected);
  // The first step of a shape is none: of four, five and three steps one each. The last four have a shape that has run.
  EXPECT_EQ(cuda_emulator::launched_graphs - before, 3 + 4 + 2 + 4);
}

// What is kept of the decoded tokens has no part in what is computed, and is the same to the bit.
TEST(EmulatedDecodeGraph, RecordsAreThoseOfStepsWithoutOne) {
  const DecodedRequests plain = decode_requests(false, false, cuda::make_device(0));
  const DecodedRequests expected = decode_requests(false, true, cuda::make_device(0));
  EXPECT_EQ(expected.tokens, plain.tokens);
  EXPECT_NE(expected.arena, plain.arena) << "something is kept";
  const int before = cuda_emulator::launched_graphs;
  const DecodedRequests repeated = decode_requests(true, true, cuda::make_device(0));
  EXPECT_EQ(repeated.tokens, expected.tokens);
  EXPECT_EQ(repeated.arena, expected.arena);
  EXPECT_GT(cuda_emulator::launched_graphs, before);
}

TEST(EmulatedDecodeGraph, ACaptureIsMadeAnewWhenTheWorkspaceMoves) {
  cuda::GpuMemory memory(0);
  cuda::Workspace workspace(memory);
  cuda::CapturedCalls calls(memory.stream(), workspace);
  int made = 0;
  const auto work = [&] {
    ++made;
    void* to = workspace.get(8);
    memory.fill_zero(to, 8);
  };
  for (int i = 0; i < 5; ++i) calls.run(work);
  EXPECT_EQ(made, 2);  // once as it is, once to capture it
  workspace.get(1 << 20);
  for (int i = 0; i < 5; ++i) calls.run(work);
  EXPECT_EQ(made, 4);
}

// So that no step of a run is the first or the second of its shape.
TEST(EmulatedDecodeGraph, StepsThatWereExpectedAreReplayedAtOnce) {
  TestDecoder<BFloat16> model(repeated_decode_options(true), cuda::make_device(0));
  ExpectedRequests expected;
  expected.requests = 2;
  expected.key_limits = {256};
  warm_up_decodes(*model, {model.arena(), model->page_bytes()}, model.kPages, expected);
  const std::vector<std::int32_t> table = {3, 1}, tokens = {7};
  SequenceStep sequence;
  sequence.tokens = tokens;
  sequence.context = 6;
  sequence.block_table = table;
  std::vector<std::int32_t> next(2);
  for (const std::size_t requests : {1, 2}) {
    const int before = cuda_emulator::launched_graphs;
    model->step(std::vector(requests, sequence), std::span(next).first(requests));
    EXPECT_EQ(cuda_emulator::launched_graphs, before + 1) << requests;
    PageList pages(159);
    const PagedRecord record = new_paged_record(model, pages, RecordKind::kLean, 12);
    SequenceStep recorded = sequence;
    recorded.record = record.layers;
    recorded.record_kind = RecordKind::kLean;
    recorded.record_tokens = 12;
    recorded.record_first = 3;
    std::vector<SequenceStep> batch(requests, sequence);
    batch[0] = recorded;
    const int before_recorded = cuda_emulator::launched_graphs;
    model->step(batch, std::span(next).first(requests));
    EXPECT_EQ(cuda_emulator::launched_graphs, before_recorded + 1) << "recorded " << requests;
  }
}

// So that no longer context moves it.
TEST(EmulatedDecodeGraph, AttentionTakesItsMemoryAtOnce) {
  PagedAttention<BFloat16> call{};
  call.heads = 32;
  call.kv_heads = 8;
  call.head_dim = 128;
  call.sequences = call.max_queries = call.max_keys = 1;
  const std::int64_t bytes = cuda::paged_attention_workspace(call);
  for (const std::int32_t queries : {1, 16, 2048}) {
    for (const std::int32_t sequences : {1, 4, 64, 1000}) {
      call.max_queries = queries;
      call.sequences = sequences;
      call.max_keys = 1 << 17;
      EXPECT_EQ(cuda::paged_attention_workspace(call), bytes) << queries << ' ' << sequences;
    }
  }
}

TEST(EmulatedDecodeGraph, WhatFailsWhileItIsCapturedLeavesNothingBehind) {
  cuda::GpuMemory memory(0);
  const cuda::Workspace workspace(memory);
  cuda::CapturedCalls calls(memory.stream(), workspace);
  int made = 0;
  const auto work = [&] {
    if (++made == 2) memory.synchronise();
  };
  calls.run(work);
  EXPECT_THROW(calls.run(work), ConfigError);
  memory.synchronise();  // nothing is being captured
  calls.run(work);
  EXPECT_EQ(made, 3);
  calls.run(work);
  EXPECT_EQ(made, 3);
}

}  // namespace
}  // namespace alchemist

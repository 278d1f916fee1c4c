// Records that a real host has made, and the training on them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "tests/validate/serving_world.h"

namespace alchemist {
namespace {

constexpr double kOtherShapes = 2e-5;  // relative to the norm: float, products of other shapes

double error_of(const std::vector<double>& gradient, const std::vector<double>& fresh) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    difference += (gradient[i] - fresh[i]) * (gradient[i] - fresh[i]);
    norm += fresh[i] * fresh[i];
  }
  EXPECT_GT(norm, 0);
  return std::sqrt(difference / norm);
}

// A request of 4 + 6 tokens whose prompt is recorded by its prefill and whose answer by the five steps that decode it,
// token by token in a run with memory for eight. Then it is trained from its records, and with nothing recorded.
class RecordedRequest {
 public:
  static constexpr Bytes kOfPrompt{4'000'000}, kOfToken{1'000'000};  // as the node counts them
  explicit RecordedRequest(std::int64_t host_pages = 0, std::optional<LinkPace> pace = {})
      : world(120, host_pages, false, pace) {
    request_.prompt_tokens = 4;
    request_.output_tokens = 6;
    request_.content.content_id = 11;
    const Arrival arrival = world.host->accept(RequestId(0), request_);
    world.host->take_in(world.clock.now());
    serve(arrival.request);
    world.host->take_outcome(arrival.request, world.clock.now());
    world.host->keep_text(RequestId(0), request_);
  }
  std::vector<double> gradient(std::span<const RecordedTokens> recorded) {
    std::int64_t fresh = 10;
    for (const RecordedTokens& part : recorded) fresh -= part.tokens;
    world.model->zero_gradients();
    begin(recorded, FreshActivations::kKeep, 3);
    for (std::int32_t layer = 0; layer < 3 && fresh > 0; ++layer) run(PieceKind::kForward, layer, fresh);
    run(PieceKind::kHead, 0, 6);
    for (std::int32_t layer = 3; layer-- > 0;) run(PieceKind::kBackward, layer, 10);
    world.host->end_micro_batch();
    return world.model->gradients();
  }
  void begin(std::span<const RecordedTokens> recorded, FreshActivations fresh, std::int32_t fresh_layers,
             std::int32_t key_layers = 0) {
    const Feedback sample{RequestId(0), SessionId(0), 4, 6, 0, 0};
    MicroBatchWork work;
    work.samples = {&sample, 1};
    work.step_targets = 6;
    work.recorded = recorded;
    const std::vector<BlockId> pages = take_pages(60, 60);
    work.pages = pages;
    work.fresh = fresh;
    work.fresh_layers = fresh_layers;
    work.key_layers = key_layers;
    work.layers = 3;
    world.host->begin(work);
  }
  std::vector<JobDone> run(PieceKind kind, std::int32_t layer, std::int64_t tokens, std::int64_t first_token = 0) {
    TrainingPiece piece;
    piece.kind = kind;
    piece.layer = layer;
    piece.first_token = first_token;
    piece.tokens = tokens;
    return world.run(piece);
  }
  ServingWorld world;

 private:
  static std::vector<BlockId> take_pages(std::uint32_t first, std::uint32_t count) {
    std::vector<BlockId> pages;
    for (std::uint32_t page = 0; page < count; ++page) pages.emplace_back(first + page);
    return pages;
  }
  void serve(RequestHandle handle) {
    const std::vector<BlockId> blocks = take_pages(0, 3);
    const std::vector<BlockId> of_prompt = take_pages(3, 20), of_answer = take_pages(23, 30);
    PrefillWork prompt;
    prompt.request = handle;
    prompt.chunk = {4, 0};
    prompt.target = 4;
    prompt.last = true;
    prompt.blocks = blocks;
    prompt.recorded_tokens = 4;
    prompt.recorded = kOfPrompt;
    prompt.record = RecordPart{RecordId(0), false, 0, of_prompt};
    AnswerPart answer;
    answer.request = handle;
    answer.first_token = 4;
    answer.tokens = 8;
    answer.record = RecordPart{RecordId(1), false, 0, of_answer};
    ServingOp op;
    op.prefills = {&prompt, 1};
    op.answers = {&answer, 1};
    world.run(op);
    ServingOp decodes;
    decodes.max_steps = 5;
    decodes.recorded_per_step = kOfToken;
    EXPECT_EQ(world.run(decodes).size(), 5u);
  }
  WorkloadRequest request_;
};

TEST(RealHost, AnswersRecordedByDecodeAreTrained) {
  RecordedRequest request;
  const std::vector<RecordedTokens> recorded = {{0, 0, 4, RecordId(0), 0, false, false},
                                                {0, 4, 5, RecordId(1), 0, false, false},
                                                {0, 9, 1, RecordId(1), 4, false, false}};  // has no gradient
  const std::vector<double> reused = request.gradient(recorded), fresh = request.gradient({});
  EXPECT_LT(error_of(reused, fresh), kOtherShapes);
}

// The record of the prompt goes to the host. Fresh tokens attend to its keys, which come layer by layer ahead of their
// forward; the rest comes for backward. All of it runs when the link is idle again.
TEST(RealHost, WhatLiesOnTheHostIsTrained) {
  RecordedRequest request(20);
  const std::vector<double> fresh = request.gradient({});
  const auto copy = [&](LinkDirection direction, std::optional<RecordId> record, std::int32_t layer, bool keys) {
    request.world.run(CopyOp{direction, Bytes(1000 + layer), record, layer, keys});
  };
  copy(LinkDirection::kDeviceToHost, RecordId(0), 0, false);
  const std::vector<RecordedTokens> on_host = {{0, 0, 4, RecordId(0), 0, false, true}};
  request.world.model->zero_gradients();
  request.begin(on_host, FreshActivations::kKeep, 3, 2);
  for (std::int32_t layer = 0; layer < 3; ++layer) {
    copy(LinkDirection::kHostToDevice, {}, layer, true);
    request.run(PieceKind::kForward, layer, 6);
  }
  for (std::int32_t layer = 3; layer-- > 0;) copy(LinkDirection::kHostToDevice, {}, layer, false);
  request.run(PieceKind::kHead, 0, 6);
  for (std::int32_t layer = 3; layer-- > 0;) request.run(PieceKind::kBackward, layer, 10);
  request.world.host->end_micro_batch();
  const std::vector<double> restored = request.world.model->gradients();
  EXPECT_LT(error_of(restored, fresh), kOtherShapes);
  const std::vector<TransferSpan>& transfers = request.world.observer.transfers;
  ASSERT_EQ(transfers.size(), 7u);
  EXPECT_EQ(transfers[0].direction, LinkDirection::kDeviceToHost);
  for (std::size_t i = 1; i < 7; ++i) EXPECT_EQ(transfers[i].direction, LinkDirection::kHostToDevice);
  for (std::size_t i = 0; i < 7; ++i)
    EXPECT_EQ(transfers[i].bytes, Bytes(std::vector{1000, 1000, 1001, 1002, 1002, 1001, 1000}[i]));
  for (const OperationPrices::Timed& operation : request.world.prices.all())
    EXPECT_EQ(operation.run.copying, Duration());
}

// While a copy is on its way to a slow link a piece runs: beside the copy, all the time or until that has ended.
TEST(RealHost, PiecesAreToldOfCopiesBesideThem) {
  RecordedRequest request(20, LinkPace{1e9, Duration::milliseconds(20)});
  request.begin({}, FreshActivations::kKeep, 3);
  const OpId id = request.world.host->submit(CopyOp{LinkDirection::kDeviceToHost, Bytes(1), RecordId(0), 0});
  const std::vector<JobDone> done = request.run(PieceKind::kForward, 0, 10);
  ASSERT_EQ(done.size(), 2u);
  const bool copy_first = done[0].tag == id.value();
  const JobDone &copy = done[copy_first ? 0 : 1], &piece = done[copy_first ? 1 : 0];
  const Duration copying = request.world.prices.all().back().run.copying;
  EXPECT_GE(copying, std::min(copy.end, piece.end) - piece.start);
  EXPECT_LE(copying, piece.end - piece.start);
}

// What follows a piece finds the device idle since its end.
TEST(RealHost, APieceIsNoIdleness) {
  RecordedRequest request;
  request.begin({}, FreshActivations::kKeep, 3);
  const JobDone piece = request.run(PieceKind::kForward, 0, 10).at(0);
  const JobDone step = request.world.run(Prefill(request.world.accept(1, 4, 2), {4, 0}, true, {0, 1}).op()).at(0);
  const Duration charged = request.world.prices.all().back().priced - kAlone;
  EXPECT_NEAR(static_cast<double>((charged - (step.start - piece.end)).count_ns()), 0, 1) << "in whole nanoseconds";
}

// The node divides an update; the model's is one, and happens once.
TEST(RealHost, ADividedUpdateIsOne) {
  RecordedRequest request;
  request.gradient({});
  const std::vector<double> before = request.world.model->trained_parameters();
  request.run(PieceKind::kOptimizer, 0, 5);
  const std::vector<double> after = request.world.model->trained_parameters();
  EXPECT_NE(after, before);
  request.run(PieceKind::kOptimizer, 0, 5, 5);
  EXPECT_EQ(request.world.model->trained_parameters(), after);
}

// The prompt's in the step that computes it, a token's in each of the five that decode.
TEST(RealHost, RecordingIsChargedAsPriced) {
  const RecordedRequest request;
  const ServingWorld& world = request.world;
  ASSERT_EQ(world.observer.spans.size(), 2u);
  EXPECT_EQ(world.observer.spans[0].recording, world.training.recording(RecordedRequest::kOfPrompt));
  EXPECT_EQ(world.observer.spans[1].recording, world.training.recording(RecordedRequest::kOfToken) * 5);
  EXPECT_GT(world.observer.spans[1].recording, Duration());
}

// The host has just enough memory for two layers of ten fresh tokens. Having sent one there the micro-batch gives way,
// and before it begins again the record of four tokens goes where it was.
TEST(RealHost, AMicroBatchThatGaveWayLeavesTheHostToOthers) {
  const DecoderOptions options = small_options<float>(TrainingMethod::lora);
  const std::int64_t layer_bytes = RecordLayout(options.shape).bytes_per_token(RecordKind::kMinimal);
  const std::int64_t page_bytes = TestDecoder<float>(options)->page_bytes();
  RecordedRequest request((2 * 10 * layer_bytes + page_bytes - 1) / page_bytes);
  for (int time = 0; time < 2; ++time) {
    request.begin({}, FreshActivations::kOffload, 1);
    request.run(PieceKind::kForward, 0, 10);
    request.world.run(CopyOp{LinkDirection::kDeviceToHost, Bytes(10 * layer_bytes), {}, 0});
    request.world.host->end_micro_batch();
    if (time > 0) continue;
    request.world.run(CopyOp{LinkDirection::kDeviceToHost, Bytes(3 * 4 * layer_bytes), RecordId(0), 0});
    request.world.host->forget(RecordId(0));
  }
}

}  // namespace
}  // namespace alchemist

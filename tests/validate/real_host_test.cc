#include "validate/real_host.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <vector>

#include "tests/validate/support.h"

namespace alchemist {
namespace {

constexpr Duration kAlone = Duration::milliseconds(1);

class AlwaysTheSame final : public StepCost {
 public:
  Duration step(const BatchShape&) const override { return kAlone; }
};

// Steps that cost what the device was idle before them, on top of a millisecond.
TurnCosts idle_time() {
  ColdStart cold;
  cold.serving = cold.idle = Duration::seconds(1'000);
  return {cold, 1};
}

class SpanObserver final : public RunObserver {
 public:
  void on_serving_span(const ServingSpan& span) override { spans.push_back(span); }
  std::vector<ServingSpan> spans;
};

struct ServingWorld {
  explicit ServingWorld(std::int32_t pages = 16, std::int64_t host_pages = 0)
      : model(small_options<float>(TrainingMethod::lora)), prices(cost, &training, idle_time()) {
    RealHostConfig config;
    config.pages = pages;
    config.page_bytes = Bytes(model->page_bytes());
    config.host_capacity = config.page_bytes * host_pages;
    config.prices = &prices;
    host.emplace(config, *model, clock, observer);
  }
  // Runs it to its end; what the workers said of its steps.
  template <class Operation>
  std::vector<JobDone> run(const Operation& op) {
    host->submit(op);
    EXPECT_FALSE(host->after_node());
    std::vector<JobDone> steps;
    while (!host->idle()) {
      steps.push_back(host->wait_until(Time::max()).value());
      host->on_done(steps.back());
    }
    return steps;
  }
  TestDecoder<float> model;
  WallClock clock;
  SpanObserver observer;
  AlwaysTheSame cost;
  TrainingCost training = training_cost();
  OperationPrices prices;
  std::optional<RealHost> host;
};

// A prompt of four tokens, then nothing for 20 ms, then its other two tokens one right behind the other. Each step is
// told how long the device was idle since the step before it: to the nanosecond what their clocks say.
TEST(RealHost, StepsAreToldHowLongTheDeviceWasIdle) {
  ServingWorld world;
  WorkloadRequest request;
  request.prompt_tokens = 4;
  request.output_tokens = 3;
  const Arrival arrival = world.host->accept(RequestId(0), request);
  world.host->take_in(world.clock.now());
  const std::vector<BlockId> blocks = {BlockId(3), BlockId(5)};
  PrefillWork prompt;
  prompt.request = arrival.request;
  prompt.chunk = {4, 0};
  prompt.target = 4;
  prompt.last = true;
  prompt.blocks = blocks;
  ServingOp op;
  op.prefills = {&prompt, 1};
  std::vector<JobDone> steps = world.run(op);
  ASSERT_EQ(steps.size(), 1u);

  constexpr Duration kIdle = Duration::milliseconds(20);
  EXPECT_FALSE(world.host->wait_until(world.clock.now() + kIdle));
  ServingOp decodes;
  decodes.max_steps = 2;
  for (const JobDone& step : world.run(decodes)) steps.push_back(step);
  ASSERT_EQ(steps.size(), 3u);
  const std::vector<OperationPrices::Timed>& told = world.prices.all();
  ASSERT_EQ(told.size(), 3u);
  for (const std::size_t i : {1u, 2u}) {
    const Duration idle = steps[i].start - steps[i - 1].end;
    EXPECT_NEAR(static_cast<double>((told[i].priced - kAlone - idle).count_ns()), 0, 1) << "price in whole nanoseconds";
    EXPECT_EQ(told[i].run.took, steps[i].end - steps[i].start);
  }
  EXPECT_GE(told[1].priced, kAlone + kIdle - Duration::nanoseconds(1));
  EXPECT_EQ(world.host->live_requests(), 1) << "until its outcome is taken";
}

// A request of 4 + 6 tokens whose prompt is recorded by its prefill and whose answer by the five steps that decode it,
// token by token in a run with memory for eight. Then it is trained from its records, and with nothing recorded.
class RecordedRequest {
 public:
  static constexpr Bytes kOfPrompt{4'000'000}, kOfToken{1'000'000};  // as the node counts them
  explicit RecordedRequest(std::int64_t host_pages = 0) : world(120, host_pages) {
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
  void begin(std::span<const RecordedTokens> recorded, FreshActivations fresh, std::int32_t fresh_layers) {
    const Feedback sample{RequestId(0), SessionId(0), 4, 6, 0, 0};
    MicroBatchWork work;
    work.samples = {&sample, 1};
    work.step_targets = 6;
    work.recorded = recorded;
    const std::vector<BlockId> pages = take_pages(60, 60);
    work.pages = pages;
    work.fresh = fresh;
    work.fresh_layers = fresh_layers;
    work.layers = 3;
    world.host->begin(work);
  }
  void run(PieceKind kind, std::int32_t layer, std::int64_t tokens) {
    TrainingPiece piece;
    piece.kind = kind;
    piece.layer = layer;
    piece.tokens = tokens;
    world.run(piece);
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
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    difference += (reused[i] - fresh[i]) * (reused[i] - fresh[i]);
    norm += fresh[i] * fresh[i];
  }
  EXPECT_GT(norm, 0);
  EXPECT_LT(std::sqrt(difference / norm), 2e-5) << "float, products of other shapes";
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

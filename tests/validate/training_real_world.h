// A real run that trains, over scripted kernels, and its books of training and of the link held against theirs.
#pragma once

#include <array>
#include <numeric>
#include <vector>

#include "tests/validate/real_run_books.h"

namespace alchemist::testing {

inline constexpr std::int32_t kPrompt = 90, kAnswer = 10, kRequests = 9;

// Of 100 tokens each, three of which are a training step of two micro-batches. One comes behind the other.
inline std::vector<ConversationWorkload::Turn> samples() {
  std::vector<ConversationWorkload::Turn> turns;
  for (std::int32_t turn = 0; turn < kRequests; ++turn) {
    turns.push_back({make_request(at_ms(0), kPrompt, kAnswer, static_cast<std::uint64_t>(100 + turn), turn), {}});
    turns.back().request.session = SessionId(1);
    if (turn > 0) turns.back().think = Duration();
  }
  return turns;
}

struct TrainingRealWorld : RealWorld {
  explicit TrainingRealWorld(const Decisions& names) {
    policy = names;
    trains = true;
    batch_tokens = 300;
    kv_blocks = 800;
  }
  // Of calls of this kind in this layer.
  std::int64_t tokens(ScriptedCall::Kind kind, std::int32_t layer) const {
    std::int64_t sum = 0;
    for (const ScriptedCall& call : model.calls(kind)) sum += call.layer == layer ? call.tokens : 0;
    return sum;
  }
  template <class Value>
  Value sum(Value TrainingStep::*field) const {
    Value value{};
    for (const TrainingStep& step : books.steps) value += step.*field;
    return value;
  }
  Bytes moved(LinkDirection direction) const {
    Bytes sum;
    for (const TransferSpan& span : books.transfers) sum += span.direction == direction ? span.bytes : Bytes();
    return sum;
  }
};

inline void expect_link_books(TrainingRealWorld& world) {
  // Of a planned share of gate and up whole rows move.
  const Bytes row(2 * small_model().intermediate * small_model().dtype_bytes);
  const auto reloads =
      std::ranges::count(world.books.transfers, LinkDirection::kHostToDevice, &TransferSpan::direction);
  EXPECT_LE(Bytes(world.model.link().to_device), world.moved(LinkDirection::kHostToDevice));
  EXPECT_LE(world.moved(LinkDirection::kHostToDevice), Bytes(world.model.link().to_device) + row * reloads);
  EXPECT_EQ(world.moved(LinkDirection::kDeviceToHost), Bytes(world.model.link().to_host));
  for (const TransferSpan& span : world.books.transfers) EXPECT_GT(span.end, span.start);
}

// The phases of the steps are the pieces that were told.
inline void expect_step_books(const TrainingRealWorld& world) {
  std::array<Duration, 4> pieces;
  for (const TrainingSpan& span : world.books.pieces)
    pieces[static_cast<std::size_t>(span.phase)] += span.end - span.start;
  const auto of = [&](TrainingPhase phase) { return pieces[static_cast<std::size_t>(phase)]; };
  EXPECT_EQ(world.sum(&TrainingStep::forward), of(TrainingPhase::kForward));
  EXPECT_EQ(world.sum(&TrainingStep::backward), of(TrainingPhase::kBackward));
  EXPECT_EQ(world.sum(&TrainingStep::optimizer), of(TrainingPhase::kOptimizer));
  EXPECT_EQ(world.sum(&TrainingStep::gpu_time), std::accumulate(pieces.begin(), pieces.end(), Duration()));
  EXPECT_EQ(world.model.version().value(), world.books.steps.size());
  for (std::size_t i = 0; i < world.books.steps.size(); ++i) {
    const TrainingStep& step = world.books.steps[i];
    EXPECT_EQ(step.version.value(), i + 1);
    EXPECT_GT(step.end, step.start);
    EXPECT_NEAR(world.model.loss_weights().at(i), 1, 1e-12) << "the mean over the targets of the whole step";
  }
}

}  // namespace alchemist::testing

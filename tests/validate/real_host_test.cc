#include "validate/real_host.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "tests/validate/serving_world.h"

namespace alchemist {
namespace {

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

// A page holds four tokens: the second chunk goes to the second page and leaves the first alone.
TEST(RealHost, ChunksOfAPromptHaveTheirOwnPages) {
  ServingWorld world;
  const RequestHandle request = world.accept(0, 6, 2);
  world.run(Prefill(request, {4, 0}, false, {3}).op());
  const std::vector<std::byte> first = world.page(3), nothing = world.page(5);
  world.run(Prefill(request, {2, 4}, true, {3, 5}).op());
  EXPECT_EQ(world.page(3), first);
  EXPECT_NE(world.page(5), nothing);
}

// A run of up to nine steps ends at once, behind the one that was under way, when an event waits for the node; and when
// a request ends.
TEST(RealHost, ARunEndsWhereTheNodeHasSomethingToDecide) {
  ServingWorld world;
  world.run(Prefill(world.accept(0, 4, 9), {4, 0}, true, {6, 7, 8, 9}).op());
  world.run(Prefill(world.accept(1, 4, 4), {4, 0}, true, {3, 5}).op());
  world.observer.spans.clear();
  const Duration before = world.host->busy();
  world.host->submit(decode_run(9));
  EXPECT_FALSE(world.host->after_node());
  world.host->interrupt();
  const auto interrupted = world.next();
  ASSERT_TRUE(interrupted);
  EXPECT_TRUE(interrupted->completion.done);
  EXPECT_EQ(interrupted->completion.steps, 1);
  EXPECT_TRUE(interrupted->completion.ended.empty());
  EXPECT_EQ(world.run(decode_run(9)).size(), 2u) << "the last two tokens of one of them";
  ASSERT_EQ(world.observer.spans.size(), 2u);
  Duration busy = before;
  for (const ServingSpan& span : world.observer.spans) busy += span.end - span.start;
  EXPECT_EQ(world.host->busy(), busy);
  EXPECT_EQ(interrupted->completion.ran, world.observer.spans[0].end - world.observer.spans[0].start);
  EXPECT_EQ(world.observer.spans[1].decodes, 2) << "in its first step";
  EXPECT_EQ(world.observer.spans[1].steps, 2);
}

// What is planned during a last step is planned without knowing who ends in it: its first step is announced as the last
// one. Where nobody is left it is over before it begins.
TEST(RealHost, WhatWasPlannedAheadOfAnEndIsOverSoon) {
  ServingWorld world(16, 0, true);
  const RequestHandle brief = world.accept(0, 4, 2), other = world.accept(1, 4, 3);
  const Prefill first(brief, {4, 0}, true, {1, 2}), second(other, {4, 0}, true, {3, 4});
  const std::vector<PrefillWork> both = {first.work, second.work};
  ServingOp prompts;
  prompts.prefills = both;
  const auto announced = [&](const ServingOp& op) {  // with the last step that it behind goes
    world.host->submit(op);
    return world.host->after_node();
  };
  const auto prompt = announced(prompts);
  ASSERT_TRUE(prompt);
  EXPECT_FALSE(prompt->done);
  EXPECT_FALSE(announced(decode_run(1)));
  EXPECT_TRUE(world.next()->completion.done);
  EXPECT_TRUE(world.host->after_node()) << "one step is the last one";
  EXPECT_FALSE(announced(decode_run(9)));
  const auto ended = world.next();
  ASSERT_TRUE(ended);
  ASSERT_EQ(ended->completion.ended.size(), 1u);
  world.host->take_outcome(brief, ended->time);
  const auto unaware = world.host->after_node();
  ASSERT_TRUE(unaware) << "of nine steps the first is the last one";
  EXPECT_FALSE(unaware->done);
  EXPECT_FALSE(announced(decode_run(9)));
  EXPECT_EQ(world.next()->completion.ended.size(), 1u);
  world.host->take_outcome(other, world.clock.now());
  const auto empty = world.host->after_node();
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->done);
  EXPECT_EQ(empty->steps, 0);
  EXPECT_TRUE(world.host->idle());
}

// Five tokens are decoded, of which the first two are recorded. Those behind them are written nowhere, nor are those of
// the next request that has the handle, nor any once the record is forgotten.
TEST(RealHost, NothingIsRecordedThatNobodyAskedFor) {
  ServingWorld world(60);
  const RequestHandle request = world.accept(0, 4, 8);
  world.run(Prefill(request, {4, 0}, true, {0, 1, 2}).op());
  std::vector<BlockId> pages;
  for (std::uint32_t page = 20; page < 40; ++page) pages.emplace_back(page);
  const auto recorded = [&] {
    std::vector<std::vector<std::byte>> bytes;
    for (std::int32_t page = 20; page < 40; ++page) bytes.push_back(world.page(page));
    return bytes;
  };
  const auto nothing = recorded();
  AnswerPart answer{request, 4, 2, Bytes(), {RecordId(0), false, 0, pages}};
  ServingOp op = decode_run(2);
  op.answers = {&answer, 1};
  world.run(op);
  const auto two_tokens = recorded();
  EXPECT_NE(two_tokens, nothing);
  world.run(decode_run(3));
  EXPECT_EQ(recorded(), two_tokens);

  answer.first_token = 9;
  op = decode_run(1);
  op.answers = {&answer, 1};
  world.run(op);
  const auto one_token = recorded();
  world.host->forget(RecordId(0));
  world.run(decode_run(1));  // its last
  EXPECT_EQ(recorded(), one_token);

  const RequestHandle second = world.accept(1, 4, 8);
  world.run(Prefill(second, {4, 0}, true, {3, 4, 5}).op());
  answer = {second, 4, 5, Bytes(), {RecordId(1), false, 0, pages}};
  op = decode_run(1);
  op.answers = {&answer, 1};
  world.run(op);
  world.host->take_outcome(second, world.clock.now());
  const auto left = recorded();
  const RequestHandle third = world.accept(2, 4, 8);
  ASSERT_EQ(third.value(), second.value());
  world.run(Prefill(third, {4, 0}, true, {6, 7, 8}).op());
  world.run(decode_run(3));
  EXPECT_EQ(recorded(), left);
}

}  // namespace
}  // namespace alchemist

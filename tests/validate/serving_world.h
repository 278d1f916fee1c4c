// A real host over a small model, in the hands of a test in the place of its node.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "tests/validate/support.h"
#include "validate/real_host.h"

namespace alchemist {

inline constexpr Duration kAlone = Duration::milliseconds(1);

class AlwaysTheSame final : public StepCost {
 public:
  Duration step(const BatchShape&) const override { return kAlone; }
};

// Steps that cost what the device was idle before them, on top of a millisecond, whatever was trained meanwhile.
inline TurnCosts idle_time() {
  ColdStart cold;
  cold.serving = cold.idle = Duration::seconds(1'000);
  cold.piece_tokens = std::int64_t{1} << 60;
  return {cold, 1};
}

class SpanObserver final : public RunObserver {
 public:
  void on_serving_span(const ServingSpan& span) override { spans.push_back(span); }
  void on_transfer(const TransferSpan& span) override { transfers.push_back(span); }
  std::vector<ServingSpan> spans;
  std::vector<TransferSpan> transfers;
};

struct ServingWorld {
  explicit ServingWorld(std::int32_t pages = 16, std::int64_t host_pages = 0, bool announce_last_step = false,
                        std::optional<LinkPace> pace = {})
      : model(small_options<float>(TrainingMethod::lora)), prices(cost, &training, idle_time()) {
    RealHostConfig config;
    config.pages = pages;
    config.page_bytes = Bytes(model->page_bytes());
    config.host_capacity = config.page_bytes * host_pages;
    config.prices = &prices;
    config.announce_last_step = announce_last_step;
    config.pace = pace;
    host.emplace(config, *model, clock, observer);
  }
  RequestHandle accept(std::uint32_t id, std::int32_t prompt_tokens, std::int32_t output_tokens) {
    WorkloadRequest request;
    request.prompt_tokens = prompt_tokens;
    request.output_tokens = output_tokens;
    request.content.content_id = 11 + id;
    const RequestHandle handle = host->accept(RequestId(id), request).request;
    host->take_in(clock.now());
    return handle;
  }
  std::vector<std::byte> page(std::int32_t number) const {
    const std::byte* begin = host->arena().base + number * host->arena().page_bytes;
    return {begin, begin + host->arena().page_bytes};
  }
  // What comes next means this for the node.
  std::optional<RealHost::Report> next() { return host->on_done(host->wait_until(Time::max()).value()); }
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

inline ServingOp decode_run(std::int64_t steps) {
  ServingOp op;
  op.max_steps = steps;
  return op;
}

// A chunk of a request's prompt; `pages`: those of its keys and values so far.
struct Prefill {
  Prefill(RequestHandle request, PrefillChunk chunk, bool last, std::vector<std::uint32_t> pages) {
    for (const std::uint32_t page : pages) blocks.emplace_back(page);
    work.request = request;
    work.chunk = chunk;
    work.target = chunk.context + chunk.tokens;
    work.last = last;
    work.blocks = blocks;
  }
  ServingOp op() const {
    ServingOp op;
    op.prefills = {&work, 1};
    return op;
  }
  std::vector<BlockId> blocks;
  PrefillWork work;
};

}  // namespace alchemist

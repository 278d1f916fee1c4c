#include "validate/real_host.h"

#include <gtest/gtest.h>

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

struct ServingWorld {
  ServingWorld() : model(small_options<float>(TrainingMethod::lora)), prices(cost, nullptr, idle_time()) {
    RealHostConfig config;
    config.pages = 16;
    config.page_bytes = Bytes(model->page_bytes());
    config.prices = &prices;
    host.emplace(config, *model, clock, observer);
  }
  // Runs it to its end; what the workers said of its steps.
  std::vector<JobDone> run(const ServingOp& op) {
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
  RunObserver observer;
  AlwaysTheSame cost;
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
    EXPECT_EQ(told[i].took, steps[i].end - steps[i].start);
  }
  EXPECT_GE(told[1].priced, kAlone + kIdle - Duration::nanoseconds(1));
  EXPECT_EQ(world.host->live_requests(), 1) << "until its outcome is taken";
}

}  // namespace
}  // namespace alchemist
